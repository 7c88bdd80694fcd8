"""A store as tidy tables and files: runs.csv, curves.csv, estimators.csv, config.json, environment.json. No torch.

Numbers are written with all their digits: what is read back is equal to the last bit. `config.json` holds the sweep;
``python -m sam_dash run config.json`` runs it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.numbers import recorded, statistics, tables
from sam_dash.runs import cost, labels
from sam_dash.runs.recording import RecordedRun
from sam_dash.runs.spec import RunSpec, SpecError, from_dict
from sam_dash.runs.store import Store

QUANTITIES = ("test_acc", "train_acc", "clean_train_acc", "test_loss", "train_loss")
LONG = 2000  # steps beyond which per-step values are exported as means over windows
ESTIMATES = ("tr_H", "lam_max", "tr_V")
COLUMNS = (
    "run", "preset", "variant", "m", "rho", "lam", "seed", "status", *QUANTITIES,
    *(column for q in ESTIMATES for column in (q, f"{q}_se")), "grad_evals", "seconds",
)  # fmt: skip


def csv(frame: pd.DataFrame) -> str:
    """A frame as CSV, every number with all its digits; no text that a spreadsheet would run as a formula."""
    texts = {c: frame[c].map(plain, na_action="ignore") for c in frame if not is_numeric_dtype(frame[c])}
    safe = frame.assign(**{str(c): column for c, column in texts.items()})
    return safe.rename(columns=plain).to_csv(index=False, lineterminator="\n")


def plain(cell: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula: a text that begins with = + - @ gets an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.strip() and cell.lstrip()[0] in "=+-@" else cell


def runs_frame(store: Store, sweep_id: str | None = None) -> pd.DataFrame:
    """One row a run: settings, how it ended, final values with their standard errors, cost.

    Accuracies are fractions; `m` is missing for variants without a perturbation; `grad_evals` are mini-batch
    gradients of the steps taken. After `COLUMNS` come scores that are no accuracy, and the settings that differ between
    the runs.
    """
    runs = store.runs(sweep_id)
    final: dict[str, dict[str, float]] = {run["key"]: {} for run in runs}
    for row in store.measurements(sweep_id, final=True):
        if row["quantity"] not in ESTIMATES and not words.is_score(row["quantity"]):
            continue
        of_run = final.setdefault(row["run"], {})
        of_run[row["quantity"]], of_run[f"{row['quantity']}_se"] = row["value"], row["stderr"]
    rows = [_row(run, final[run["key"]]) for run in runs]
    others = [_other_settings(run["spec"]) for run in runs]
    varied = [
        name for name in dict.fromkeys(k for o in others for k in o)
        if len({repr(o[name]) for o in others if name in o}) > 1
    ]  # fmt: skip
    for row, other in zip(rows, others, strict=True):
        row.update({name: other.get(name) for name in varied})
    if any("recorded" in run["spec"] for run in runs):
        varied.append("origin")
        for row, run in zip(rows, runs, strict=True):
            row["origin"] = origin(run["spec"])
    own = sorted({q for values in final.values() for q in values if words.is_score(q)} - set(QUANTITIES))
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *own, *varied])
    return frame.astype({"m": "Int64", "seed": "Int64"})


def origin(spec: Mapping[str, Any]) -> str:
    """Where a run was made: "recorded", "recorded elsewhere: FILE", or "sam-dash" by the engine."""
    if "recorded" not in spec:
        return "sam-dash"
    return f"recorded elsewhere: {spec['source']}" if spec["source"] else "recorded"


def _row(run: dict[str, Any], final: dict[str, float]) -> dict[str, Any]:
    spec = run["spec"]
    return {
        "run": run["key"], "preset": run["preset"], "variant": spec["variant"], "m": spec["m"],
        "rho": spec["knobs"].get("rho"), "lam": spec["knobs"].get("lam"), "seed": spec["seed"],
        "status": run["status"], **final, "grad_evals": _grad_evals(run), "seconds": run["seconds"],
    }  # fmt: skip


def _grad_evals(run: dict[str, Any]) -> float:
    if "recorded" in run["spec"]:
        told = {k: run["spec"][k] for k in ("id", "name", "variant", "m", "knobs", "seed")}
        try:
            return RecordedRun(**told).gradients(run["step"])
        except SpecError:
            return float("nan")
    try:
        all_steps = cost.gradients(from_dict(RunSpec, run["spec"]))
    except SpecError:  # the user's .npz has been moved since
        return float("nan")
    return all_steps * run["step"] / max(1, run["steps"])


def _other_settings(spec: dict[str, Any]) -> dict[str, Any]:
    """What else may differ between runs, by name."""
    knobs = {k: v for k, v in spec["knobs"].items() if k not in ("rho", "lam")}
    problem = {k: v for k, v in spec["problem"].items() if k != "data_hash"}
    return {**knobs, **problem, **spec["training"]}


def curves_frame(store: Store, sweep_id: str | None = None, keys: Sequence[str] | None = None) -> pd.DataFrame:
    """All that was recorded over time, one row a number: measurements, then per-step values.

    A measurement of step t is made after t steps; a per-step value of step t is of the step from t to t + 1. Of a run
    of more than `LONG` steps the per-step values are means over windows, those that Dynamics draws, each at the
    window's last step.
    """
    runs = [run for run in store.runs(sweep_id) if keys is None or run["key"] in set(keys)]
    names = [run["key"] for run in runs]
    frames = [pd.DataFrame(store.measurements(keys=names), columns=tables.NUMBERS)]
    rate = {run["key"]: recorded.rate(run) for run in runs}
    for run, by_quantity in store.series(names).items():
        for quantity, values in by_quantity.items():
            steps = np.arange(len(values))
            each = pd.DataFrame({"step": steps, "epoch": steps / rate[run], "value": values.astype(float)})
            found = recorded.windowed(values, rate[run]) if len(values) > LONG else each
            frames.append(found.assign(run=run, quantity=quantity, stderr=float("nan"))[list(tables.NUMBERS)])
    return pd.concat([f for f in frames if len(f)] or frames, ignore_index=True)


def estimators_frame(store: Store, sweep_id: str | None = None) -> pd.DataFrame:
    """How each number was measured, one row a measurement: the columns `tables.CURVES`.

    `budget`: probes, iterations or samples; `residual` of an iterative method, relative; missing where there is none.
    """
    return pd.DataFrame(store.measurements(sweep_id), columns=tables.CURVES)


def write_study(store: Store, sweep_id: str | None, out_dir: str | Path) -> list[Path]:
    """Write the five files, each whole or not at all, and where names or tags were given `labels.json`; their paths.

    Several sweeps are a list in config.json.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    sweeps = {row["id"]: row["spec"] for row in store.sweeps()}
    wanted = [sweeps[sweep_id]] if sweep_id else list(sweeps.values())
    config = wanted[0] if len(wanted) == 1 else wanted
    texts = {
        "runs.csv": csv(runs_frame(store, sweep_id)),
        "curves.csv": csv(curves_frame(store, sweep_id)),
        "estimators.csv": csv(estimators_frame(store, sweep_id)),
        "config.json": json.dumps(config, indent=2) + "\n",
        "environment.json": json.dumps(store.environments(sweep_id), indent=2) + "\n",
    } | labels_file(store, *([sweep_id] if sweep_id else sweeps))
    return [_write(out / name, text) for name, text in texts.items()]


def labels_file(store: Store, *sweep_ids: str) -> dict[str, str]:
    """The file with the names and tags of sweeps and of their runs, by its name; {} where none were given."""
    runs = {run["key"] for sweep_id in sweep_ids for run in store.runs(sweep_id)}
    found = labels.exported(store, sweep_ids, runs)
    return {"labels.json": json.dumps(found, indent=2) + "\n"} if found else {}


def _write(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard error over seeds and n of the finished runs of each setting, as text; one row a setting."""
    others = [str(c) for c in frame.columns[len(COLUMNS) :]]
    settings: list[Any] = ["variant", "m", "rho", "lam", *(c for c in others if not words.is_score(c))]
    have = [str(q) for q in frame if frame[q].notna().any()]
    shown = {words.scored("test_acc", have): 1.0, "train_loss": 1.0, "tr_H": 1.0, "lam_max": 1.0, "tr_V": 1.0}
    shown |= {q: 100.0 for q in shown if words.is_fraction(q)}
    done = frame[frame["status"] == "done"]
    rows = []
    for values, group in done.groupby(settings, dropna=False, sort=False):
        setting: dict[str, Any] = dict(zip(settings, values, strict=True))
        setting["variant"] = variants.get(str(setting["variant"])).title
        cells = {q: _mean(group[q].astype(float) * scale) for q, scale in shown.items()}
        rows.append({**{k: "-" if pd.isna(v) else v for k, v in setting.items()}, "n": len(group), **cells})
    table = pd.DataFrame(rows, columns=[*settings, "n", *shown]).rename(columns={"test_acc": "test_acc %"})
    return table.loc[:, [bool((table[c] != "-").any()) for c in table.columns]]


def _mean(x: pd.Series) -> str:
    found = statistics.mean(x, "se")
    if found.n == 0:
        return "-"
    return f"{found.mean:.4g}" + (f" ± {found.se:.2g}" if found.n > 1 else "")
