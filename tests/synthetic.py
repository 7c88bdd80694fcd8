"""Stores filled with invented numbers, for tests and for looking at the pages. Nothing here is a result."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from sqlalchemy import update

from sam_dash.runs import cost, tables
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import STATUSES, Measurement, Outcome, Report
from sam_dash.runs.spec import Problem, RunSpec, SweepSpec, Training
from sam_dash.runs.store import Store

SWEEP = SweepSpec(
    variants=("sgd", "nsam", "sam", "rwsam"),
    m=(8, 4, 2, 1),
    knobs={"rho": (0.1,), "lam": (0.0, 0.5, 1.0)},
    seeds=(0, 1, 2),
    problem=Problem(network="mlp:8", label_noise=0.4),
    training=Training(batch=8, epochs=4),
)


def strength(run: RunSpec) -> float:
    """0 for SGD, larger for smaller m: only so that the invented curves differ."""
    if run.m is None:
        return 0.0
    base = {"nsam": 0.15, "rwsam": 0.5 - 0.2 * run.knobs.get("lam", 0.0)}.get(run.variant, 0.45)
    return base + (0.35 * np.log2(run.training.batch / run.m) if run.variant == "sam" else 0.0)


def values(run: RunSpec, share: float = 1.0) -> dict[str, float]:
    """Invented values of every quantity at a share of the training."""
    # hash() of a string differs between processes
    rng = np.random.default_rng([run.seed, zlib.crc32(f"{run.variant}{run.m}{dict(run.knobs)}".encode())])
    s, noise = strength(run), 1 + 0.03 * rng.standard_normal(8)
    grow = 0.3 + 0.7 * share
    return {
        "tr_H": 100 * np.exp(-0.8 * s) * noise[0] * grow,
        "lam_max": 4.2 * np.exp(-0.8 * s) * noise[1] * (1 + 0.06 * rng.standard_normal()) * grow,
        "tr_V": 50 * np.exp(-0.6 * s) * noise[2] * grow,
        "test_acc": min(0.97, (0.7 + 0.1 * s) * (0.5 + 0.5 * share) * noise[3]),
        "train_acc": min(0.99, (0.9 - 0.15 * s) * (0.5 + 0.5 * share)),
        "train_loss": (0.5 + 0.3 * s) * noise[4] + 1.6 * (1 - share),
        "test_loss": (1.2 - 0.2 * s) * noise[5] + 1.2 * (1 - share),
    }


def measurements(run: RunSpec, done: float, steps: int) -> list[Measurement]:
    """What a run would have written: losses and accuracies each epoch, curvature at the end."""
    rows = []
    epochs = run.training.epochs
    for epoch in range(epochs + 1):
        share = epoch / epochs
        if share > done:
            break
        last = epoch == epochs
        for quantity, value in values(run, share).items():
            curvature = quantity in ("tr_H", "lam_max", "tr_V")
            if curvature and not last:
                continue
            error = 0.01 * value if curvature else 0.0
            step = round(steps * share)
            rows.append(
                Measurement(float(value), error, "invented", 16, step=step, epoch=float(epoch), quantity=quantity)
            )
    return rows


def per_step(run: RunSpec) -> dict[str, float]:
    """What a run has recorded at every step."""
    found = {"eps_norm": 0.1 if run.m else 0.0}
    return found | ({"ess": run.training.batch / (1 + 4 * run.knobs["lam"])} if run.variant == "rwsam" else {})


PLAIN = values, per_step
COPIES: dict[str, Path] = {}
FOLDER = tempfile.TemporaryDirectory(prefix="sam-dash-tests-")


def fill(
    store: Store,
    sweep: SweepSpec,
    fate: Mapping[str, str] | None = None,
    quantities: Mapping[str, float] | None = None,
) -> str:
    """Have a sweep run its course with invented numbers, as a worker would write them; its id.

    `fate` maps the key of a run to the status it is to be in; without one it is done. `quantities`: more that every run
    is to have measured at its end. An empty store that is to be filled like one before it becomes a copy of that.
    """
    filled = json.dumps([sweep.to_dict(), fate, quantities], sort_keys=True)
    plain = (values, per_step) == PLAIN and not store.sweeps()
    if plain and filled in COPIES:
        _copy(COPIES[filled], Path(str(store.db.url.database)))
        return sweep.key
    sweep_id = _fill(store, sweep, fate or {}, quantities or {})
    if plain:
        COPIES[filled] = Path(FOLDER.name) / f"{len(COPIES)}.db"
        _copy(Path(str(store.db.url.database)), COPIES[filled])
    return sweep_id


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def _fill(store: Store, sweep: SweepSpec, fate: Mapping[str, str], quantities: Mapping[str, float]) -> str:
    submitted = store.submit(sweep)
    leases = Leases(store)
    while keys := leases.claim("invented"):
        owner, specs = leases.begin(keys, "invented")
        for key, run in zip(keys, specs, strict=True):
            _course(leases, owner, key, run, fate.get(key, "done"), quantities)
    with store.write() as c:
        for key, status in fate.items():
            if status in ("queued", "stopped", "interrupted"):
                c.execute(update(tables.runs).where(tables.runs.c.key == key).values(status=status))
    return submitted.sweep_id


def _course(leases: Leases, owner: str, key: str, run: RunSpec, fate: str, more: Mapping[str, float]) -> None:
    if fate == "queued":
        return
    done = 1.0 if fate == "done" else 0.5 if fate == "running" else 0.26
    T = cost.steps(run)
    more = {"train_seconds": 1.25, **more}
    series = {q: np.full((1, int(T * done)), value) for q, value in per_step(run).items()}
    rows = measurements(run, done, T)
    rows += [
        Measurement(value, 0.0, "invented", 16, step=T, epoch=float(run.training.epochs), quantity=q)
        for q, value in more.items()
    ]
    leases.flush(owner, [key], Report(int(T * done), T, "train", 0, series, [rows]))
    if fate in ("done", "diverged"):
        message = "" if fate == "done" else "diverged at step 12: the loss is nan"
        leases.finish(owner, key, Outcome(fate, message), 1.5, {"torch": "none: these numbers are invented"})
    elif fate == "failed":
        leases.fail(owner, [key], "RuntimeError: invented failure", "line 1\nline 2\nRuntimeError: invented failure")


def every(sweep: SweepSpec, status: str, count: int | None = None) -> dict[str, str]:
    """The first `count` runs of a sweep, or all, with that fate."""
    assert status in STATUSES
    return {r.key: status for r in sweep.runs()[:count]}
