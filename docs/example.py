"""Make the studies that ship with the project, from scratch: `python -m docs.example`, or some: `... long-tail`.

Curves are thinned: of what is recorded at every step, the mean over each epoch is kept; of the experiments, which are
judged on final values, the last step's measurements only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sam_dash.results.experiments.experiment import DATA
from sam_dash.results.study import EXAMPLE
from sam_dash.results.style import RECORDED

DIGITS = "--variants sgd,nsam,sam,rwsam --lam 0,.25,.5,1 --seeds 10 --measure trace,lam_max,noise,m_sharpness"
PRESETS = ("long-tail", "which-sharpness", "overparameterisation", "heavy-tails", "fine-tuning")
STUDIES = {EXAMPLE: f"run --preset digits {DIGITS}"} | {DATA / name: f"run --preset {name}" for name in PRESETS}


def thin(curves: pd.DataFrame) -> pd.DataFrame:
    """Per-step series as their means over each epoch, at its last step; the rest as it is."""
    per_step = curves["quantity"].isin(RECORDED)
    series = curves[per_step].assign(epoch=lambda f: f["epoch"] // 1 + 1)
    keys = ["run", "quantity", "epoch"]
    means = series.groupby(keys, sort=False).agg(step=("step", "max"), value=("value", "mean")).reset_index()
    return pd.concat([curves[~per_step], means.assign(stderr=float("nan"))[curves.columns]], ignore_index=True)


def last(curves: pd.DataFrame) -> pd.DataFrame:
    """What was measured at the last step of each run; nothing of what is recorded at every step."""
    measured = curves[~curves["quantity"].isin(RECORDED)]
    return measured[measured["step"] == measured.groupby("run")["step"].transform("max")]


def put(out: Path, folder: Path, shorten: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """The files of one study into its place."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("runs.csv", "config.json", "environment.json"):
        (folder / name).write_bytes((out / name).read_bytes())
    curves = pd.read_csv(out / "curves.csv", dtype={"run": str})
    stamp = {"method": "gzip", "mtime": 0}  # the same bytes every time
    shorten(curves).to_csv(folder / "curves.csv.gz", index=False, compression=stamp)


def main() -> None:
    """Run them, or those named, thin them, put them in their places."""
    for folder, arguments in STUDIES.items():
        if sys.argv[1:] and folder.name not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as out:
            where = ["--store", f"{out}/store.db", "--out", out]
            subprocess.run([sys.executable, "-m", "sam_dash", *arguments.split(), *where], check=True)
            several = sorted(path for path in Path(out).iterdir() if path.is_dir())
            for part in several or [Path(out)]:
                put(part, folder / part.name if several else folder, thin if folder == EXAMPLE else last)


if __name__ == "__main__":
    main()
