"""Several studies of one data set as one, so that they stand on one figure, each named by what it differs in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from sam_dash.problems.problem import facts
from sam_dash.results import words
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs.recording import RecordedTraining
from sam_dash.runs.spec import SweepSpec

SAID: Mapping[str, Callable[[Any], str]] = {
    "network": lambda v: f"width {v[4:]}" if re.fullmatch(r"mlp:\d+", v) else str(v),
    "label_noise": lambda v: f"{100 * v:g} % label noise" if v else "clean labels",
    "n_train": lambda v: f"{v} training samples" if v else "all training samples",
    "optimiser": lambda v: {"sgd": "SGD", "adamw": "AdamW"}.get(v, str(v)),
    "lr": lambda v: f"lr {v:g}",
    "batch": lambda v: f"B = {v}",
    "epochs": lambda v: f"{v} epochs",
    "imbalance": lambda v: f"long-tailed {v:g} : 1" if v != 1 else "balanced classes",
}
"""How the value of a setting is said in a legend; of others their name and the value."""


def common(a: SweepSpec, b: SweepSpec) -> bool:
    """Whether two studies can stand on one figure: the same data set, trained here and not recorded."""
    recorded = isinstance(a.training, RecordedTraining) or isinstance(b.training, RecordedTraining)
    return not recorded and a.problem.dataset == b.problem.dataset


def names(specs: Sequence[SweepSpec]) -> list[str]:
    """A study each, of one network: what it differs in from the others, as "width 32, 20 % label noise".

    Those that share problem and training have one name, which is "" where all do.
    """
    settings = [_settings(spec) for spec in specs]
    several = [k for k in settings[0] if len({s[k] for s in settings}) > 1]
    return [", ".join(_said(k, s[k]) for k in several) for s in settings]


def _settings(spec: SweepSpec) -> dict[str, Any]:
    """What the runs of a study share, by the names of its fields."""
    own = {k: getattr(of, k) for of in (spec.problem, spec.training) for k in facts(of)}
    return {"network": spec.problem.network} | own


def _said(key: str, value: Any) -> str:
    known = SAID.get(key)
    return known(value) if known else f"{key.replace('_', ' ')} {words.number(value) if _real(value) else value}"


def _real(value: Any) -> bool:
    return isinstance(value, float)


def together(studies: Sequence[Study]) -> Study:
    """The first study, with the runs of all: where they differ their runs have a column `study`, by which cells are
    told apart, and `batch`, their B. `Study.beside` are the studies, a name of `names` each.

    Studies of several networks are taken apart first (`Study.parts`). ValueError where two cannot stand on one figure.
    """
    parts = [part for study in studies for part in study.parts()]
    for part in parts[1:]:
        if not common(parts[0].spec, part.spec):
            raise ValueError("two studies of different data, or recorded ones, do not go on one figure")
    called = names([part.spec for part in parts])
    if len(parts) < 2:
        return parts[0]
    told = len(set(called)) > 1
    pairs = list(zip(parts, called, strict=True))
    runs = pd.concat([_marked(part.runs, part, name, told) for part, name in pairs], ignore_index=True)
    finals = pd.concat([_marked(part.finals, part, name, told) for part, name in pairs], ignore_index=True)
    density = pd.concat([part.density for part in parts], ignore_index=True)
    finals, runs = merged(finals, runs)
    made: dict[str, int] = {}
    for part in parts:
        for how, n in part.made.items():
            made[how] = made.get(how, 0) + n
    return replace(
        parts[0], runs=runs, finals=finals, density=density, made=made, hidden=sum(part.hidden for part in parts),
        beside=tuple(pairs),
    )  # fmt: skip


def _marked(frame: pd.DataFrame, part: Study, name: str, told: bool) -> pd.DataFrame:
    return frame.assign(study=name, batch=float(part.spec.training.batch)) if told else frame


def merged(finals: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs that differ only in what was measured are the same training: one of them, with all that was measured."""
    cell = [*tables.settings(runs), "seed"]
    first = runs.assign(_late=runs["status"] != "done").sort_values("_late", kind="stable").drop_duplicates(cell)
    names = first[[*cell, "run"]].rename(columns={"run": "_run"})
    values = finals.drop_duplicates([*cell, "quantity"]).merge(names, on=cell)
    return values.assign(run=values["_run"]).drop(columns="_run"), first.drop(columns="_late").reset_index(drop=True)
