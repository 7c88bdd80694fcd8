"""A study that was taken away, read again: from anyone, so that sizes are looked at before anything is unpacked, every
field is checked, and whatever is wrong is one SpecError, a line.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sam_dash.maths.estimate import Estimate
from sam_dash.problems.arrays import NPZ
from sam_dash.problems.own_files import known
from sam_dash.results import words
from sam_dash.results.drawing import captions
from sam_dash.results.numbers import tables
from sam_dash.runs import grammar, labels
from sam_dash.runs.labels import Label
from sam_dash.runs.merge import Foreign
from sam_dash.runs.recording import QUANTITY, sweep_from
from sam_dash.runs.report import ACTIVE, STATUSES, Measurement
from sam_dash.runs.spec import SpecError, SweepSpec

MAX_FILES, MAX_BYTES = 1000, 500_000_000
MAX_RATIO, LARGE = 100, 1_000_000  # unpacked against packed, of a file that is large when it is unpacked
MAX_ROWS, MAX_COLUMNS, MAX_SWEEPS = 2_000_000, 200, 100
MOST = 2**31 - 1
WHOLE = {"step": (0, MOST), "budget": (0, MOST)}  # columns of whole numbers


class Brought(NamedTuple):
    """What a bundle holds: sweeps, runs, and what both were called."""

    sweeps: list[SweepSpec]
    runs: list[Foreign]
    labels: dict[str, dict[str, Label]]


def read(name: str, content: bytes, *, own: bool = False) -> Brought:
    """The sweeps, runs and labels of a bundle; SpecError, in words, for anything that is not one.

    `own`: the user's own file on the command line, which may name arrays (`npz:`) of this machine; a stranger's may
    name only those that were uploaded here, as reading others would tell of this machine's files.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = _members(archive)
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from None
    except Exception as error:  # zipfile, zlib, lzma and struct raise a dozen kinds on torn and forged files
        raise SpecError(f"{name}: not a readable zip ({_said(error)})") from None
    try:
        config = json.loads(files["config.json"])
        configs = config if isinstance(config, list) else [config]
        if len(configs) > MAX_SWEEPS:
            raise SpecError(f"{len(configs)} studies in one; at most {MAX_SWEEPS}")
        sweeps = [_sweep(c, own) for c in configs]
        return Brought(sweeps, _runs(sweeps, files), labels.read(json.loads(files.get("labels.json", b"{}"))))
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SpecError(f"{name}: cannot be read ({_said(error)})") from None


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _sweep(config: Any, own: bool) -> SweepSpec:
    """A sweep of config.json, refused before any file is looked at that it should not name."""
    problem = config.get("problem") if isinstance(config, Mapping) else None
    dataset = problem.get("dataset") if isinstance(problem, Mapping) else None
    if not own and isinstance(dataset, str) and dataset.startswith(NPZ) and dataset not in known():
        raise SpecError(
            f"its data are a file of another machine, {grammar.short(dataset)}: expected a built-in set, or one "
            "that was uploaded here"
        )
    return sweep_from(config)


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The known files by name, wherever in the archive they lie; nothing is written to disk."""
    found = archive.infolist()
    if len(found) > MAX_FILES or sum(f.file_size for f in found) > MAX_BYTES:
        raise SpecError(f"more than {MAX_FILES} files or {MAX_BYTES // 10**6} MB unpacked")
    out = {}
    for wanted in ("config.json", "runs.csv", "curves.csv", "estimators.csv", "labels.json"):
        at = [f for f in found if Path(f.filename).name == wanted]
        if len(at) > 1:
            raise SpecError(f"{wanted} is in it {len(at)} times")
        if at and at[0].file_size > max(LARGE, MAX_RATIO * at[0].compress_size):
            ratio = at[0].file_size / max(1, at[0].compress_size)
            raise SpecError(f"{wanted} unpacks to {ratio:.0f} times its size, as no study does; at most {MAX_RATIO}")
        if at:
            out[wanted] = archive.read(at[0])
    missing = [n for n in ("config.json", "runs.csv", "curves.csv") if n not in out]
    if missing:
        raise SpecError(f"no {captions.listed(missing)} in it; expected a zip from the page Export")
    return out


def _runs(sweeps: Sequence[SweepSpec], files: dict[str, bytes]) -> list[Foreign]:
    specs = {r.key: r for sweep in sweeps for r in sweep.runs()}
    table = _csv(files["runs.csv"], "runs.csv", ("run", "status", "seconds"))
    curves = _csv(files["curves.csv"], "curves.csv", ("run", "step", "epoch", "quantity", "value", "stderr"))
    for frame, file in ((table, "runs.csv"), (curves, "curves.csv")):
        strange = sorted(set(frame["run"]) - set(specs))
        if strange:
            raise SpecError(f"{file} has a run {strange[0]!r} that config.json does not describe")
    bad = sorted(set(table["status"]) - set(STATUSES))
    if bad:
        raise SpecError(f"runs.csv has a status {bad[0]!r}")
    if curves.duplicated(["run", "step", "quantity"]).any():
        raise SpecError("curves.csv has a number twice")
    quality = _quality(files.get("estimators.csv"))
    every_step = curves["quantity"].isin(words.RECORDED)
    numbers = curves[~every_step].merge(quality, on=["run", "step", "quantity"], how="left")
    per_step = curves[every_step]
    measured: dict[str, list[Measurement]] = {}
    for r in numbers.fillna({"method": "imported", "budget": 0, "converged": "True", "dof": math.inf}).itertuples():
        row: Any = r
        estimate = Estimate(
            float(row.value), float(row.stderr), str(row.method)[:64], int(row.budget), float(row.residual),
            str(row.converged) in ("True", "1", "1.0"), float(row.dof),
        )  # fmt: skip
        measured.setdefault(row.run, []).extend(
            Measurement.at(int(row.step), float(row.epoch), {str(row.quantity): estimate})
        )
    series: dict[str, dict[str, np.ndarray]] = {}
    for (run, quantity), rows in per_step.groupby(["run", "quantity"]):
        rows = rows.sort_values("step")
        if list(rows["step"]) == list(range(len(rows))):  # the example's are thinned: not per step
            series.setdefault(str(run), {})[str(quantity)] = rows["value"].to_numpy(np.float32)
    out = []
    for row in table.itertuples():
        ended = row.status not in ACTIVE
        out.append(
            Foreign(
                row.run, row.status if ended else "interrupted", "" if ended else "not finished where it was exported",
                float(row.seconds), measured.get(row.run, []), series.get(row.run, {}),
            )
        )  # fmt: skip
    return out


def _quality(content: bytes | None) -> pd.DataFrame:
    columns = ("run", "step", "quantity", *tables.QUALITY)
    if content is None:
        return pd.DataFrame(columns=list(columns)).astype({"run": str, "step": float, "quantity": str})
    return _csv(content, "estimators.csv", columns, {"dof": math.inf}).drop_duplicates(["run", "step", "quantity"])


def _csv(content: bytes, name: str, columns: Sequence[str], later: Mapping[str, float] = {}) -> pd.DataFrame:
    """A table with these columns; `later`: those that a file of an earlier version lacks, and their value then."""
    if (rows := content.count(b"\n")) > MAX_ROWS:
        raise SpecError(f"{name} has {rows} rows; at most {MAX_ROWS} are taken in at once: export fewer runs")
    if (wide := content.partition(b"\n")[0].count(b",")) > MAX_COLUMNS:
        raise SpecError(f"{name} has {wide} columns; at most {MAX_COLUMNS}")
    text = ("run", "quantity", "status", "method", "converged")
    frame = pd.read_csv(io.BytesIO(content), dtype={c: str for c in text})
    frame = frame.assign(**{c: value for c, value in later.items() if c not in frame})
    for column in columns:
        if column not in frame:
            raise SpecError(f"{name} has no column {column!r}")
        if column not in text:
            try:
                frame[column] = pd.to_numeric(frame[column]).astype(float)
            except (ValueError, TypeError):
                raise SpecError(f"{name}: column {column!r} is not all numbers") from None
    if name == "runs.csv" and frame["run"].duplicated().any():
        raise SpecError("runs.csv has a run twice")
    if name == "runs.csv":
        return frame[list(columns)]
    if frame[["run", "quantity", "step"]].isna().any().any():
        raise SpecError(f"{name} has rows without run, step or quantity")
    for column, (low, high) in WHOLE.items():
        if column in frame and not frame[column].isna().all():
            numbers = frame[column].dropna()
            bad = numbers[~((numbers >= low) & (numbers <= high) & (numbers == np.floor(numbers)))]
            if len(bad):
                raise SpecError(f"{name}: {column} {bad.iloc[0]:g} is no whole number from {low} to {high}")
    strange = [q for q in frame["quantity"].unique() if not QUANTITY.fullmatch(q)]
    if strange:
        raise SpecError(f"{name}: {grammar.short(strange[0])} is no name of a quantity")
    return frame[list(columns)]
