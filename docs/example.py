"""Make the studies that ship with the project, from scratch: `python -m docs.example`.

They are thinned. Of what is recorded at every step, the mean over each epoch is kept, to seven digits; of what is
measured along the way, the three usual estimates; of the spectral density, that of the last step of one seed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from sam_dash.results import density
from sam_dash.results.experiments.experiment import DATA
from sam_dash.results.export import ESTIMATES
from sam_dash.results.study import EXAMPLE
from sam_dash.results.style import RECORDED

MEASURE = "--measure trace,lam_max,noise,m_sharpness --measure-every 10"
DIGITS = f"--variants sgd,nsam,sam,rwsam --lam 0,.25,.5,1 --seeds 10 {MEASURE}"
STUDIES = {EXAMPLE: f"run --preset digits {DIGITS}", DATA / "long-tail": "run --preset long-tail"}


def thin(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Per-step series as their means over each epoch, at its last step; of measurements what the pages show."""
    late = curves["step"] == curves.groupby("run")["step"].transform("max")
    plain = curves["quantity"].str.endswith(("_acc", "_loss")) | curves["quantity"].isin([*RECORDED, *ESTIMATES])
    spectra = curves["quantity"].str.startswith(density.PREFIX)
    first = curves["run"].isin(runs.loc[runs["seed"] == runs["seed"].min(), "run"])
    curves = curves[plain | (late & (~spectra | first))]
    per_step = curves["quantity"].isin(RECORDED)
    series = curves[per_step].assign(epoch=lambda f: f["epoch"] // 1 + 1)
    keys = ["run", "quantity", "epoch"]
    means = series.groupby(keys, sort=False).agg(step=("step", "max"), value=("value", "mean")).reset_index()
    means["value"] = [float(f"{v:.7g}") for v in means["value"]]
    return pd.concat([curves[~per_step], means.assign(stderr=float("nan"))[curves.columns]], ignore_index=True)


def main() -> None:
    """Run them, thin them, put them in their places."""
    for folder, arguments in STUDIES.items():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as out:
            where = ["--store", f"{out}/store.db", "--out", out]
            subprocess.run([sys.executable, "-m", "sam_dash", *arguments.split(), *where], check=True)
            for name in ("runs.csv", "config.json", "environment.json"):
                (folder / name).write_bytes(Path(out, name).read_bytes())
            runs, curves, how = (
                pd.read_csv(Path(out, f"{name}.csv"), dtype={"run": str}) for name in ("runs", "curves", "estimators")
            )
            kept = thin(curves, runs)
            estimates = kept.loc[~kept["quantity"].str.endswith(("_acc", "_loss")), ["run", "step", "quantity"]]
            stamp = {"method": "gzip", "mtime": 0}  # the same bytes every time
            kept.to_csv(folder / "curves.csv.gz", index=False, compression=stamp)
            how.merge(estimates).to_csv(folder / "estimators.csv.gz", index=False, compression=stamp)


if __name__ == "__main__":
    main()
