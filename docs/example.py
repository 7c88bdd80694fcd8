"""Make the studies that ship with the project, from scratch: `python -m docs.example`, or some: `... long-tail`.

They are thinned. Of what is recorded at every step, the mean over each epoch is kept, to seven digits; of what is
measured along the way, the three usual estimates; of the spectral densities, those of the first seed. Of the
experiments that are judged on final values, the last step's measurements only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from sam_dash.results.experiments.experiment import DATA
from sam_dash.results.files.export import ESTIMATES
from sam_dash.results.numbers import parts
from sam_dash.results.numbers.density import PREFIX
from sam_dash.results.numbers.study import EXAMPLE
from sam_dash.results.words import RECORDED
from sam_dash.runs.recipes import RECIPES

MEASURE = "--measure trace,lam_max,noise,pyhessian,m_sharpness,density --measure-every 10"
DIGITS = f"--variants sgd,nsam,sam,rwsam --lam 0,.25,.5,1 --seeds 10 {MEASURE}"
PRESETS = ("long-tail", "which-sharpness", "overparameterisation", "heavy-tails", "fine-tuning", "reweighting")
STUDIES = {EXAMPLE: f"run --preset digits {DIGITS}"} | {DATA / name: f"run --preset {name}" for name in PRESETS}


def thin(curves: pd.DataFrame) -> pd.DataFrame:
    """Per-step series as their means over each epoch, at its last step; of measurements what the pages show."""
    plain = curves["quantity"].str.endswith(("_acc", "_loss")) | curves["quantity"].isin([*RECORDED, *ESTIMATES])
    curves = curves[plain | at_the_end(curves)]
    per_step = curves["quantity"].isin(RECORDED)
    series = curves[per_step].assign(epoch=lambda f: f["epoch"] // 1 + 1)
    keys = ["run", "quantity", "epoch"]
    means = series.groupby(keys, sort=False).agg(step=("step", "max"), value=("value", "mean")).reset_index()
    means["value"] = [float(f"{v:.7g}") for v in means["value"]]
    return pd.concat([curves[~per_step], means.assign(stderr=float("nan"))[curves.columns]], ignore_index=True)


def one_density(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The curves with the spectral densities, a hundred numbers a run, of the first seed only."""
    first = curves["run"].isin(runs.loc[runs["seed"] == runs["seed"].min(), "run"])
    return curves[first | ~curves["quantity"].str.startswith(PREFIX)]


def last(curves: pd.DataFrame) -> pd.DataFrame:
    """What was measured at the last step of each run; nothing of what is recorded at every step."""
    measured = curves[~curves["quantity"].isin(RECORDED)]
    return measured[at_the_end(measured)]


def at_the_end(curves: pd.DataFrame) -> pd.Series[bool]:
    """Which rows are of the last step of their run."""
    return curves["step"] == curves.groupby("run")["step"].transform("max")


def put(out: Path, folder: Path) -> None:
    """The files of one study into its place."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("runs.csv", "config.json", "environment.json"):
        (folder / name).write_bytes((out / name).read_bytes())
    runs, curves, how = (
        pd.read_csv(out / f"{name}.csv", dtype={"run": str}) for name in ("runs", "curves", "estimators")
    )
    curves = one_density(curves, runs)
    kept = thin(curves) if folder in (EXAMPLE, DATA / "fine-tuning") else last(curves)
    estimates = kept.loc[~kept["quantity"].str.endswith(("_acc", "_loss")), ["run", "step", "quantity"]]
    stamp = {"method": "gzip", "mtime": 0}  # the same bytes every time
    kept.to_csv(folder / "curves.csv.gz", index=False, compression=stamp)
    how.merge(estimates).to_csv(folder / "estimators.csv.gz", index=False, compression=stamp)


def recipes() -> None:
    """The paper's recipes, or those named: a specification a sweep."""
    for name, recipe in RECIPES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as out:
            for i, sweep in enumerate(recipe.sweeps, 1):
                where = Path(out, str(i)) if recipe.more else Path(out, "only")
                spec = Path(out, f"{i}.json")
                spec.write_text(json.dumps(sweep.to_dict()))
                command = ["run", str(spec), "--store", f"{out}/store.db", "--out", str(where)]
                subprocess.run([sys.executable, "-m", "sam_dash", *command], check=True)
                put(where, DATA / name / str(i) if recipe.more else DATA / name)


def main() -> None:
    """Run them, or those named, thin them, put them in their places."""
    recipes()
    for folder, arguments in STUDIES.items():
        if sys.argv[1:] and folder.name not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as out:
            where = ["--store", f"{out}/store.db", "--out", out]
            subprocess.run([sys.executable, "-m", "sam_dash", *arguments.split(), *where], check=True)
            for part in parts.folders(Path(out)):
                put(part, folder / part.relative_to(out))


if __name__ == "__main__":
    main()
