"""Runs of other tools as CSV: columns are given our names, rows become recorded runs that say where they came from.

A row is a step of a run where there is a column of steps, else the final values of one run.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sam_dash import variants
from sam_dash.maths.estimate import Estimate
from sam_dash.results import words
from sam_dash.runs.merge import Foreign
from sam_dash.runs.recording import MARK, QUANTITY, RecordedProblem, RecordedRun, RecordedStudy, RecordedTraining
from sam_dash.runs.report import Measurement
from sam_dash.runs.spec import SpecError

MAX_BYTES, MAX_NUMBERS, MAX_STEP = 100_000_000, 2_000_000, 5_000_000
ROLES = {
    "run": ("run", "run_id", "run id", "run name", "id", "name", "experiment"),
    "step": ("step", "_step", "global_step", "global step", "iteration", "iter", "trainer/global_step"),
    "epoch": ("epoch",),
    "variant": ("variant", "method", "optimizer", "optimiser", "algorithm"),
    "m": ("m", "micro_batch", "microbatch"),
    "seed": ("seed", "random_seed"),
    "rho": ("rho", "ρ"),
    "lam": ("lam", "lambda", "λ"),
}
"""What a column may be besides a quantity, and how such columns are often called."""
USUAL = {
    "train_loss": ("train_loss", "train/loss", "training_loss", "loss"),
    "train_acc": ("train_acc", "train/acc", "train_accuracy", "train/accuracy"),
    "test_loss": ("test_loss", "test/loss", "val_loss", "val/loss", "valid_loss", "eval/loss"),
    "test_acc": (
        "test_acc", "test/acc", "test_accuracy", "test/accuracy", "val_acc", "val/acc", "val_accuracy", "val/accuracy",
        "eval/accuracy", "accuracy", "acc",
    ),
}  # fmt: skip
"""Quantities that other tools have too, and how they call them."""
PLAIN = {"variant": "sgd", "seed": "0"}  # where neither a column nor a word says it


class Table(NamedTuple):
    """A CSV as text, with its name."""

    name: str
    rows: pd.DataFrame
    digest: str

    @property
    def columns(self) -> list[str]:
        """Their names."""
        return [str(column) for column in self.rows]


class Read(NamedTuple):
    """What was found: a study, its runs, and what is to be said of how it was read."""

    study: RecordedStudy
    runs: list[Foreign]
    notes: list[str]


def table(name: str, content: bytes) -> Table:
    """The rows of a CSV, all as text; SpecError, one line, for what is none."""
    if len(content) > MAX_BYTES:
        raise SpecError(f"{name}: {len(content) / 1e6:.0f} MB; at most {MAX_BYTES // 10**6} MB")
    try:
        rows = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError) as error:  # not text, no columns, rows of several lengths
        raise SpecError(f"{name}: cannot be read as CSV ({str(error).strip().splitlines()[0]})") from None
    rows.columns = pd.Index([str(c).strip() for c in rows])
    if rows.empty or len(rows.columns) < 1:
        raise SpecError(f"{name}: no rows under a line with the names of the columns")
    return Table(name, rows, hashlib.sha256(content).hexdigest())


def guess(columns: list[str]) -> dict[str, str]:
    """Which column is probably what: our name -> theirs, in no more than one place each."""
    left = {c.lower(): c for c in reversed(columns)}
    found = {}
    for target, names in {**ROLES, **USUAL}.items():
        for name in (target.lower(), *names):
            if name in left:
                found[target] = left.pop(name)
                break
    ours = {q.lower(): q for q in words.QUANTITIES}
    return found | {ours[low]: c for low, c in left.items() if low in ours and ours[low] not in found}


def read(
    table: Table,
    columns: Mapping[str, str],
    study: str,
    said: Mapping[str, str] = {},
    network: str = "",
    batch: int = 0,
) -> Read:
    """The runs of a CSV; SpecError, one line, for what cannot be read as it was asked for.

    `columns`: our name -> theirs, of `ROLES` and of quantities; `said`: roles that all rows share, such as
    {"variant": "sam"}.
    """
    of = {**columns}
    for target, column in of.items():
        if column not in table.rows:
            raise SpecError(f"{table.name} has no column {column!r}; it has {', '.join(map(str, table.rows))}")
        if target not in ROLES and not QUANTITY.fullmatch(target):
            raise SpecError(
                f"{target!r}: expected the name of a quantity, letters, digits and _ @ = . + / -, at most 64"
            )
    for role in said:
        if role not in ROLES or role in of or role in ("run", "step", "epoch"):
            raise SpecError(
                f"{role!r} is said for all rows: expected one of variant, m, seed, rho, lam without a column"
            )
    quantities = [target for target in of if target not in ROLES]
    if not quantities:
        raise SpecError(f"{table.name}: no column is a quantity; name one, such as test_acc={table.rows.columns[-1]}")
    if len(quantities) * len(table.rows) > MAX_NUMBERS:
        raise SpecError(f"{table.name}: more than {MAX_NUMBERS} numbers; choose fewer columns")
    numbers, notes = {q: _numbers(table, of[q]) for q in quantities}, []
    for q, values in numbers.items():
        if words.is_fraction(q) and np.nanmax(values, initial=0) > 1:
            if np.nanmax(values) > 100:
                raise SpecError(
                    f"{table.name}: {of[q]!r} as {q} reaches {np.nanmax(values):g}: no share and no per cent"
                )
            numbers[q] = values / 100
            notes.append(f"{of[q]!r} reaches {np.nanmax(values):g} and was taken as per cent")
    steps = _numbers(table, of["step"]) if "step" in of else np.zeros(len(table.rows))
    if not ((steps >= 0) & (steps == np.floor(steps)) & (steps <= MAX_STEP)).all():
        raise SpecError(f"{table.name}: column {of['step']!r}: expected whole numbers from 0 to {MAX_STEP}")
    epochs = _numbers(table, of["epoch"]) if "epoch" in of else np.full(len(table.rows), math.nan)
    training = RecordedTraining(batch=batch)
    about = RecordedStudy(name=study, problem=RecordedProblem(network=network), training=training)
    runs, foreign = [], []
    like: Counter[str] = Counter()
    for which, rows in _groups(table, of):
        run = _run(table, of, said, which, rows, training)
        cell = repr((run.variant, run.m, sorted(run.knobs.items())))
        if "seed" not in {*of, *said}:
            run = replace(run, seed=like[cell])
        like[cell] += 1
        runs.append(run)
        foreign.append(_foreign(run.key, rows, steps, epochs, numbers))
    if "seed" not in {*of, *said} and max(like.values(), default=0) > 1:
        notes.append("no column is a seed: runs of one setting are numbered in its place")
    return Read(about.with_run(*runs), foreign, notes)


def _numbers(table: Table, column: str) -> np.ndarray:
    """A column as numbers, nan where it is empty."""
    texts = table.rows[column].str.strip()
    values = pd.to_numeric(texts.mask(texts == "", "nan"), errors="coerce").to_numpy(float)
    wrong = np.flatnonzero(np.isnan(values) & ~texts.str.lower().isin(["", "nan", "none", "null"]).to_numpy())
    if len(wrong):
        text = str(texts.iloc[wrong[0]])[:40]
        raise SpecError(f"{table.name}: column {column!r}, line {wrong[0] + 2}: {text!r} is no number")
    return values


def _groups(table: Table, of: Mapping[str, str]) -> list[tuple[str, np.ndarray]]:
    """The rows of each run, by its name: by the column of runs, else by all that tells runs apart; a row each without
    steps.
    """
    told = [of["run"]] if "run" in of else [of[role] for role in ROLES if role in of and role not in ("step", "epoch")]
    if "step" not in of:
        told = told if "run" in of else []
    if not told:
        whole = [np.arange(len(table.rows))] if "step" in of else [np.array([i]) for i in range(len(table.rows))]
        return [(str(i + 1) if len(whole) > 1 else table.name, rows) for i, rows in enumerate(whole)]
    grouped = table.rows.groupby(told, sort=False).indices
    names = [key if isinstance(key, tuple) else (key,) for key in grouped]
    return [(", ".join(map(str, name)), np.asarray(rows)) for name, rows in zip(names, grouped.values(), strict=True)]


def _run(
    table: Table,
    of: Mapping[str, str],
    said: Mapping[str, str],
    which: str,
    rows: np.ndarray,
    training: RecordedTraining,
) -> RecordedRun:
    """What a run's rows say of it, which must be one thing."""
    told: dict[str, str] = {**PLAIN, **said}
    for role in ("variant", "m", "seed", "rho", "lam"):
        if role in of:
            values = list(dict.fromkeys(table.rows[of[role]].iloc[rows].str.strip()))
            if len(values) > 1:
                raise SpecError(
                    f"{table.name}: run {which!r} has several values of {of[role]!r}: {', '.join(values[:3])}"
                )
            told[role] = values[0]
    known = {v.title.lower(): key for key, v in variants.REGISTRY.items()} | {key: key for key in variants.REGISTRY}
    variant = known.get(told["variant"].lower(), told["variant"])
    perturbs = variant not in variants.REGISTRY or "rho" in variants.REGISTRY[variant].knobs
    knobs = {role: _one(table, role, told[role]) for role in ("rho", "lam") if told.get(role) and perturbs}
    m = _one(table, "m", told["m"]) if told.get("m") and perturbs else None
    seed = _one(table, "seed", told["seed"] or "0")
    key = MARK + hashlib.sha256(f"{table.digest} {which} {sorted(of.items())}".encode()).hexdigest()[:11]
    name = "".join(c for c in which if c.isprintable())[:80].strip() or table.name[:80]
    try:
        return RecordedRun(
            id=key, name=name, source=table.name[:80], variant=variant, m=m, seed=seed, knobs=knobs, training=training
        )
    except SpecError as error:
        raise SpecError(f"{table.name}: run {which[:40]!r}: {error}") from None


def _one(table: Table, role: str, text: str) -> Any:
    """A number, whole where it is."""
    try:
        value = float(text)
    except ValueError:
        raise SpecError(f"{table.name}: {role} = {text[:40]!r} is no number") from None
    return int(value) if value.is_integer() else value


def _foreign(
    key: str, rows: np.ndarray, steps: np.ndarray, epochs: np.ndarray, numbers: Mapping[str, np.ndarray]
) -> Foreign:
    measured: list[Measurement] = []
    series: dict[str, np.ndarray] = {}
    for q, values in numbers.items():
        there = rows[~np.isnan(values[rows])]
        if q in words.RECORDED:
            at = steps[there].astype(int)
            series[q] = np.full(int(at.max()) + 1 if len(at) else 0, np.nan, np.float32)
            series[q][at] = values[there]
            continue
        for i in there:
            estimate = Estimate(float(values[i]), math.nan, "recorded elsewhere", 1)
            measured += Measurement.at(int(steps[i]), float(epochs[i]), {q: estimate})
    return Foreign(key, "done", "", math.nan, measured, series)
