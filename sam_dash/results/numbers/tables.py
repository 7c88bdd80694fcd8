"""The frames: runs, curves, final values, and the one frame that a figure and its CSV share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from sam_dash import variants
from sam_dash.maths.estimate import Estimate
from sam_dash.results.numbers import statistics
from sam_dash.results.numbers.derived import with_gaps

CELL = ["variant", "m"]  # and the knobs; one network at a time, unless a column `study` tells them apart
ALWAYS = ("rho", "lam")  # knobs that a frame has a column for even if no run has them
NUMBERS = ["run", "step", "epoch", "quantity", "value", "stderr"]
QUALITY = [f.name for f in fields(Estimate) if f.name not in NUMBERS]
CURVES = [*NUMBERS, *QUALITY]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts by column name; as `DataFrame.to_dict("records")`, in a fifth of its time."""
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*(frame[n].tolist() for n in names), strict=True)]


def knob_names() -> list[str]:
    """The knobs of all variants, in the registry's order: one column each."""
    return list(dict.fromkeys(name for v in variants.REGISTRY.values() for name in v.knobs))


def settings(frame: pd.DataFrame) -> list[str]:
    """Variant, m and the knobs that a frame has columns for, in the registry's order; of several studies which."""
    return [*CELL, *(k for k in knob_names() if k in frame), *(["study"] if "study" in frame else [])]


def cell(frame: pd.DataFrame) -> list[str]:
    """The columns that tell the cells (all settings but the seed) of a frame apart: those that are not empty in it."""
    return [*CELL, *(k for k in settings(frame)[2:] if frame[k].notna().any())]


def runs_frame(runs: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a run: key, network, variant, m, the knobs that some run has, seed, status and how far it is."""
    rows, used = [], set(ALWAYS)
    for run in runs:
        spec = run["spec"]
        used |= spec["knobs"].keys()
        row = {"run": run["key"], "network": spec["problem"]["network"], "variant": spec["variant"], "m": spec["m"]}
        row |= {**spec["knobs"], "seed": spec["seed"]}
        rows.append(row | {k: run.get(k) for k in ("status", "step", "steps", "phase", "seconds", "error")})
    columns = ["run", "network", *CELL, *(k for k in knob_names() if k in used), "seed"]
    columns += ["status", "step", "steps", "phase", "seconds", "error"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"run": str, "m": float, "step": float, "steps": float, "seconds": float})


def curves_frame(measurements: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """All measurements, tidy: one row a run, step and quantity."""
    frame = pd.DataFrame(list(measurements)).reindex(columns=CURVES).fillna({"dof": math.inf})
    numeric: dict[str, type] = {"value": float, "stderr": float, "step": float, "epoch": float}
    return frame.astype({"run": str, "quantity": str, **numeric})  # an empty frame has no types of its own


def series_means(series: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Mean of what is recorded at every step, over the steps at which it was: run, quantity, value."""
    rows = [
        (run, quantity, float(np.mean(np.asarray(values)[there])))
        for run, columns in series.items()
        for quantity, values in columns.items()
        if (there := ~np.isnan(values)).any()
    ]
    return pd.DataFrame(rows, columns=["run", "quantity", "value"]).astype({"run": str, "quantity": str})


def finals(runs: pd.DataFrame, last: pd.DataFrame, means: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row a *finished* run and quantity: from the measurements of its last step, and from means over steps;
    the generalisation gaps are derived from them.

    Runs that diverged, failed or were stopped have no final value, whatever they had measured before.
    """
    ended = runs.loc[runs["status"] == "done", ["run", "network", *settings(runs), "seed"]]
    both = last[["run", "quantity", "value", "stderr", *QUALITY]]
    if means is not None and len(means):
        both = pd.concat([both, means.assign(method="mean over steps", converged=True)], ignore_index=True)
    return with_gaps(ended.merge(both, on="run", how="inner").reset_index(drop=True))


def overlaid(frame: pd.DataFrame) -> bool:
    """Whether a frame has several ρ, or several studies."""
    return any(frame[k].nunique() > 1 for k in ("rho", "study") if k in frame)


def one_network(frame: pd.DataFrame) -> None:
    """ValueError where runs of several networks would be pooled: `Study.at` takes those of one."""
    names = sorted(frame["network"].dropna().unique()) if "network" in frame else []
    if len(names) > 1 and not ("study" in frame and frame.groupby("study")["network"].nunique().max() == 1):
        raise ValueError(f"runs of {len(names)} networks ({', '.join(names)}) in one mean; narrow the study to one")


def summary(
    finals: pd.DataFrame,
    runs: pd.DataFrame,
    quantities: Iterable[str],
    interval: str = "ci",
    against: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The frame of a figure: per quantity and cell a row `kind` = mean, and one `kind` = seed for each run in it.

    A cell is everything but the seed. `y` is what is plotted, [`low`, `high`] the interval, `n` its seeds, `missing`
    the runs of the cell that gave no value (failed, diverged, stopped, not yet done), `stderr` that of the estimator,
    `converged` whether all estimates in it did.
    With `against` (column -> value naming one cell) `y` is the difference from that cell within each seed; of several
    studies within each.
    """
    one_network(finals)
    told = cell(runs)
    planned = {_exact(key): n for key, n in runs.groupby(told, dropna=False)["seed"].nunique().items()}
    cells: dict[str, dict[tuple[Any, ...], list[dict[str, Any]]]] = {quantity: {} for quantity in quantities}
    for r in records(finals[[*told, "seed", "run", "quantity", "value", "stderr", "converged"]]):
        if r["quantity"] in cells and math.isfinite(r["value"]):
            cells[r["quantity"]].setdefault(_exact(r[k] for k in told), []).append(r)
    rows: list[dict[str, Any]] = []
    for quantity, groups in cells.items():
        bases = None if against is None else _bases(select(finals[finals["quantity"] == quantity], against))
        for key, group in groups.items():
            common = {"quantity": quantity, **dict(zip(told, key, strict=True))}
            seeds = [r | {"y": r["value"]} for r in sorted(group, key=lambda r: r["seed"])]
            if bases is not None:
                base = bases.get(common.get("study"), {})
                seeds = [r | {"y": r["value"] - base[r["seed"]]} for r in seeds if r["seed"] in base]
            mean = statistics.mean((r["y"] for r in seeds), interval)
            if mean.n == 0:
                continue
            errors = np.array([r["stderr"] for r in seeds if not math.isnan(r["stderr"])])
            rows.append(
                common
                | {"kind": "mean", "y": mean.mean, "low": mean.low, "high": mean.high, "n": mean.n}
                | {"missing": planned.get(key, 0) - mean.n}
                | {"stderr": float(np.sqrt((errors**2).mean())) if len(errors) else math.nan}
                | {"converged": all(bool(r["converged"]) for r in seeds)}
            )
            rows += [
                common
                | {"kind": "seed", "seed": r["seed"], "y": r["y"], "stderr": r["stderr"], "run": r["run"]}
                | {"converged": bool(r["converged"])}
                for r in seeds
            ]
    columns = ["quantity", *settings(runs), "kind", "seed", "y", "low", "high", "n", "missing", "stderr"]
    columns += ["converged", "run"]
    return pd.DataFrame(rows, columns=columns).astype({"m": float, "y": float, "low": float, "high": float})


def _exact(key: Any) -> tuple[Any, ...]:
    """The key of a group, comparable: nan is None."""
    return tuple(None if v is None or v != v else v for v in key)


def _bases(frame: pd.DataFrame) -> dict[Any, dict[int, float]]:
    """Study -> seed -> value; None is the one study of a frame that does not tell."""
    if "study" not in frame:
        return {None: _by_seed(frame)}
    return {name: _by_seed(of) for name, of in frame.groupby("study")}


def _by_seed(frame: pd.DataFrame) -> dict[int, float]:
    return {s: v for s, v in zip(frame["seed"], frame["value"], strict=True) if math.isfinite(v)}


def select(frame: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The rows whose columns have these values; a column that is missing in a row (SGD has no rho) is no obstacle."""
    keep = pd.Series(True, index=frame.index)
    for column, value in where.items():
        keep &= frame[column].eq(value) | (frame[column].isna() if column in knob_names() else False)
    return frame[keep]


def over_m(finals: pd.DataFrame, quantities: Iterable[str]) -> dict[tuple[str, str], dict[int, dict[float, float]]]:
    """Quantity and variant -> seed -> m -> final value, of the variants that have an m."""
    out: dict[tuple[str, str], dict[int, dict[float, float]]] = {
        (quantity, str(variant)): {} for quantity in quantities for variant in dict.fromkeys(finals["variant"])
    }
    for r in records(finals.loc[finals["m"].notna(), ["quantity", "variant", "seed", "m", "value"]]):
        if (r["quantity"], r["variant"]) in out:
            out[r["quantity"], r["variant"]].setdefault(r["seed"], {})[r["m"]] = r["value"]
    return {of: by_seed for of, by_seed in out.items() if by_seed}


def slopes(finals: pd.DataFrame, quantities: Iterable[str], interval: str = "ci") -> pd.DataFrame:
    """Change per doubling of m of every variant swept over m, paired by seed: one row a variant and quantity."""
    rows = []
    for (quantity, variant), by_seed in over_m(finals, quantities).items():
        s = statistics.slope(by_seed, interval)
        if s.slope.n:
            of = s.slope
            rows.append([variant, quantity, of.mean, of.low, of.high, of.n, s.monotone, len(s.levels)])
    columns = ["variant", "quantity", "slope", "low", "high", "n", "monotone", "levels"]
    return pd.DataFrame(rows, columns=columns)


def curve_means(study_runs: pd.DataFrame, curves: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Seed mean of a curve per cell and step, over the runs that have got there: variant, m, rho, epoch, value, n."""
    one_network(study_runs)
    of = curves[(curves["quantity"] == quantity) & np.isfinite(curves["value"])]
    told = cell(study_runs)
    joined = of.merge(study_runs[["run", *told]], on="run")
    means = joined.groupby([*told, "step", "epoch"], dropna=False)["value"].agg(value="mean", n="count").reset_index()
    return means.reindex(columns=[*settings(study_runs), "step", "epoch", "value", "n"])


def at_full_batch(frame: pd.DataFrame, batch: int) -> pd.DataFrame:
    """The rows of runs without micro-batches: m = B, or no m at all. B is the column `batch` where there is one."""
    return frame[frame["m"].isna() | (frame["m"] == (frame.get("batch", batch)))]


def without_swept(finals: pd.DataFrame, runs: pd.DataFrame, knob: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave out the variants that are swept over a knob of their own: they have a figure of their own."""
    swept = {v for v, rows in finals.groupby("variant") if rows[knob].nunique() > 1}
    return finals[~finals["variant"].isin(swept)], runs[~runs["variant"].isin(swept)]
