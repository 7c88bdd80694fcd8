"""Two to eight runs, side by side: in what their settings differ, and what they came out with.

Where several runs have one setting and different seeds, settings are compared within each seed that they share; the
first run's setting is the reference that the others are held against.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from sam_dash.results import words
from sam_dash.results.numbers import statistics

LETTERS = "ABCDEFGH"


@dataclass(frozen=True)
class Run:
    """A run: its specification as plain values, status, the name that it was given, and what it measured last:
    quantity, value, stderr.
    """

    key: str
    spec: Mapping[str, Any]
    status: str
    called: str
    last: pd.DataFrame
    alike: frozenset[str] = frozenset()

    @property
    def setting(self) -> str:
        """Variant, m and knobs but for those in `alike`, in words."""
        of = self.spec
        knobs = {name: value for name, value in of["knobs"].items() if name not in self.alike}
        return words.cell_name(of["variant"], of["m"], of["training"]["batch"], words.knob_text(knobs))

    @property
    def name(self) -> str:
        """The name that it was given, else its setting and seed."""
        return self.called or f"{self.setting}, seed {self.spec['seed']}"

    @cached_property
    def cell(self) -> str:
        """All settings but the seed, as a text; those of one text are one setting."""
        apart = {k: v for k, v in self.spec.items() if k not in ("seed", "measures", "id", "name", "source")}
        return json.dumps(apart, sort_keys=True)

    @cached_property
    def finals(self) -> dict[str, float]:
        """The last values by quantity, of a run that is done; {} of any other."""
        return dict(zip(self.last["quantity"], self.last["value"], strict=True)) if self.status == "done" else {}


def named_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs without those knobs in their names that are the same in all of them that have them."""
    values: dict[str, set[Any]] = {}
    for run in runs:
        for name, value in run.spec["knobs"].items():
            values.setdefault(name, set()).add(value)
    alike = frozenset(name for name, found in values.items() if len(found) == 1)
    return [replace(run, alike=alike) for run in runs]


def cells(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs by setting, in their order."""
    out: dict[str, list[Run]] = {}
    for run in runs:
        out.setdefault(run.cell, []).append(run)
    return out


def of_several(runs: Sequence[Run]) -> str:
    """What these runs are, and what comparing them can show."""
    by = cells(runs)
    if len({json.dumps([r.spec["problem"], r.spec["training"]["batch"]], sort_keys=True) for r in runs}) > 1:
        return "They differ in the problem, or in its batch: the numbers are not comparable as they stand."
    if len(by) == 1:
        return f"{len(runs)} runs of one setting, {runs[0].setting}: what differs between them is chance."
    shared = set.intersection(*({int(r.spec["seed"]) for r in of} for of in by.values()))
    text = f"{len(runs)} runs of {len(by)} settings"
    if not shared:
        return f"{text}, of which no seed is common to all: chance is in the differences."
    if len(shared) == 1:
        return f"{text}, all with seed {min(shared)}: one replicate, which no interval can be taken of."
    return f"{text}, of which {len(shared)} seeds are common to all: differences are taken within each seed."


COLUMNS = ["Setting", "Quantity", "Value", "Reference", "Difference", "Low", "High", "Seeds", "So"]


def paired(runs: Sequence[Run], quantities: Sequence[str]) -> pd.DataFrame:
    """Paired differences of each setting from the first run's, a row a quantity: mean over the seeds that both have,
    that of the reference, the mean difference within a seed with its 95 % t-interval, and what it says.
    """
    by = cells(runs)
    reference = by.pop(runs[0].cell)
    rows = []
    for of in by.values():
        for q in quantities:
            a, b = ({int(r.spec["seed"]): r.finals[q] for r in rs if known(r, q)} for rs in (of, reference))
            d = statistics.paired(a, b)
            if d.n:
                both = [s for s in a if s in b]
                ends = (statistics.mean(x[s] for s in both).mean for x in (a, b))
                numbers = [words.in_unit(q, v) for v in (*ends, d.mean, d.low, d.high)]
                rows.append([of[0].setting, words.labelled(q), *numbers, d.n, said(d)])
    return pd.DataFrame(rows, columns=COLUMNS)


def known(run: Run, quantity: str) -> bool:
    """Whether a run has a final value of it."""
    return math.isfinite(run.finals.get(quantity, math.nan))


def said(difference: statistics.Mean) -> str:
    """ "more", "less", "a tie" or, of one seed, "no interval"."""
    if difference.n < 2:
        return "no interval"
    return ("more" if difference.mean > 0 else "less") if difference.excludes(0) else "a tie"


def finals(runs: Sequence[Run], quantities: Sequence[str]) -> pd.DataFrame:
    """One row a run: letter, name, setting, seed, status, and the last values that it has measured."""
    rows = []
    for letter, run in zip(LETTERS, runs, strict=False):
        last = dict(zip(run.last["quantity"], run.last["value"], strict=True))
        values = {words.labelled(q): words.in_unit(q, last.get(q, math.nan)) for q in quantities}
        about = {"": letter, "Name": run.called, "Setting": run.setting, "Seed": run.spec["seed"]}
        rows.append(about | {"Status": run.status} | values)
    frame = pd.DataFrame(rows)
    return frame if frame["Name"].any() else frame.drop(columns="Name")


def flat(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A specification as one level: training.lr, knobs.rho, ..."""
    out: dict[str, Any] = {}
    for key, value in spec.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return out


def settings(specs: Sequence[Mapping[str, Any]], only_different: bool = True) -> pd.DataFrame:
    """Setting, its value in each as text under the letters of `LETTERS`, and whether they differ; by default only where
    they do.
    """
    each = [flat(spec) for spec in specs]
    rows = []
    for key in dict.fromkeys(key for one in each for key in one):
        texts = [_text(one.get(key)) for one in each]
        if not only_different or len(set(texts)) > 1:
            rows.append([key, *texts, len(set(texts)) > 1])
    return pd.DataFrame(rows, columns=["Setting", *LETTERS[: len(each)], "Differs"])


def _text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def outcomes(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The last measurement of each quantity in both runs, with each estimator's error, and B − A."""
    columns = ["quantity", "value", "stderr"]
    both = a[columns].merge(b[columns], on="quantity", how="outer", suffixes=("_a", "_b"), sort=False)
    rank = {q: i for i, q in enumerate(words.QUANTITIES)}
    both = both.sort_values("quantity", key=lambda s: s.map(lambda q: rank.get(q, len(rank))), kind="stable")
    rows = []
    for q, value_a, error_a, value_b, error_b in both.itertuples(index=False):
        errors = (e if e > 0 and not words.is_fraction(q) else math.nan for e in (error_a, error_b))
        values = (words.in_unit(q, v) for v in (value_a, value_b, value_b - value_a))
        (a_, b_, change), (of_a, of_b) = values, errors
        rows.append((words.labelled(q), a_, of_a, b_, of_b, change))
    return pd.DataFrame(rows, columns=["Quantity", "A", "A, ±", "B", "B, ±", "B − A"])


def sentence(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """What a comparison of two single runs can and cannot show."""
    different = set(settings([a, b])["Setting"])
    if not different:
        return "The two specifications are the same."
    if different == {"seed"}:
        return "They differ by the seed alone: what differs below is chance."
    if "seed" in different:
        return "Their seeds differ too, so that chance is in every difference: compare runs of one seed."
    if a["seed"] == b["seed"] and a["problem"] == b["problem"]:
        return (
            "Same seed, hence the same initial weights and noisy labels. ± is the error of one estimate. One pair of "
            "runs is one replicate: the page Sharpness has the interval over seeds."
        )
    return "They differ in the problem: the numbers are not comparable as they stand."
