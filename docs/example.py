"""Make the example that ships with the project, from scratch: `python -m docs.example`.

Curves are thinned: of what is recorded at every step, the mean over each epoch is kept.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from sam_dash.results.study import EXAMPLE
from sam_dash.results.style import RECORDED

RUN = "run --preset digits --variants sgd,nsam,sam,rwsam --lam 0,.25,.5,1 --seeds 10"
MEASURES = "trace,lam_max,noise,m_sharpness"


def thin(curves: pd.DataFrame) -> pd.DataFrame:
    """Per-step series as their means over each epoch, at its last step; the rest as it is."""
    per_step = curves["quantity"].isin(RECORDED)
    series = curves[per_step].assign(epoch=lambda f: f["epoch"] // 1 + 1)
    keys = ["run", "quantity", "epoch"]
    means = series.groupby(keys, sort=False).agg(step=("step", "max"), value=("value", "mean")).reset_index()
    return pd.concat([curves[~per_step], means.assign(stderr=float("nan"))[curves.columns]], ignore_index=True)


def main() -> None:
    """Run it, thin it, put it in its place."""
    EXAMPLE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as out:
        command = [
            sys.executable,
            "-m",
            "sam_dash",
            *RUN.split(),
            "--measure",
            MEASURES,
            "--store",
            f"{out}/store.db",
            "--out",
            out,
        ]
        subprocess.run(command, check=True)
        for name in ("runs.csv", "config.json", "environment.json"):
            (EXAMPLE / name).write_bytes(Path(out, name).read_bytes())
        curves = pd.read_csv(Path(out, "curves.csv"), dtype={"run": str})
        stamp = {"method": "gzip", "mtime": 0}  # the same bytes every time
        thin(curves).to_csv(EXAMPLE / "curves.csv.gz", index=False, compression=stamp)


if __name__ == "__main__":
    main()
