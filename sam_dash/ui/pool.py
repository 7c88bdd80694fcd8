"""All runs of one problem in the store, whichever study they came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from sam_dash.results.numbers import beside
from sam_dash.results.numbers.study import Study
from sam_dash.ui import backend


def of(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Final values and runs of the study and of every other study with the same problem and training, each run once."""
    finals, runs = [study.finals], [study.runs]
    for sweep in backend.store().sweeps():
        spec = backend.spec(sweep)
        if spec is None or sweep["id"] == study.id:
            continue
        if study.spec.problem not in spec.problems or spec.training != study.spec.training:
            continue
        other = _load(sweep, study)
        if other is not None and len(other.finals):
            finals.append(other.finals)
            runs.append(other.runs)
    return beside.merged(pd.concat(finals, ignore_index=True), pd.concat(runs, ignore_index=True))


def shorter_sgd(study: Study, quantity: str) -> pd.DataFrame:
    """Finished SGD runs of the same problem and training but fewer epochs: epochs, seed, train_loss, the quantity."""
    parts = []
    for sweep in backend.store().sweeps():
        spec = backend.spec(sweep)
        if spec is None:
            continue
        mine = study.spec.training
        same = study.spec.problem in spec.problems and replace(spec.training, epochs=mine.epochs) == mine
        other = _load(sweep, study) if same and spec.training.epochs < mine.epochs else None
        if other is not None:
            of = other.finals[(other.finals["variant"] == "sgd")]
            wide = of.pivot_table(index=["run", "seed"], columns="quantity", values="value").reset_index()
            parts.append(wide.assign(epochs=spec.training.epochs))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["epochs"])
    table = table.reindex(columns=["epochs", "seed", "train_loss", *({quantity} - {"train_loss"})])
    return table.dropna().drop_duplicates(["epochs", "seed"])


def _load(sweep: dict[str, Any], study: Study) -> Study | None:
    """The study of a sweep, of several networks that of `study`."""
    other = backend.load(sweep)
    return other.at(study.spec.problem.network) if other is not None and other.spec.networks else other
