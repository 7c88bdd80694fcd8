"""One or two checkpoints that were looked at (`sam_dash.runs.looks`), as the views of their page take them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from sam_dash.results import words
from sam_dash.results.drawing import captions, style
from sam_dash.results.numbers import statistics
from sam_dash.results.views.view import View
from sam_dash.runs.looks import Look

COLOURS = ((style.ORDERED[0], "solid", "circle"), (style.ORDERED[7], "dash", "diamond"))


@dataclass(frozen=True)
class Seen:
    """A checkpoint: its name, what was asked of it, and the answer."""

    name: str
    look: Look
    answer: Mapping[str, Any]

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The quantities, a row an `Estimate`."""
        names = ["quantity", "value", "stderr", "method", "budget", "residual", "converged", "dof"]
        frame = pd.DataFrame(self.answer["measured"], columns=names)
        return frame.assign(**{k: frame[k].astype(float) for k in ("value", "stderr", "residual", "dof")})

    def value(self, quantity: str) -> float:
        """The value of a quantity; nan where it was not measured."""
        found = self.measured.loc[self.measured["quantity"] == quantity, "value"]
        return float(found.iloc[0]) if len(found) else math.nan

    def points(self, of: str) -> pd.DataFrame:
        """The points of a slice."""
        frame = pd.DataFrame(self.answer["points"])
        return frame[frame["slice"] == of] if len(frame) else frame

    def length(self, of: str) -> float:
        """The length of the direction of a slice in one dimension."""
        return float(self.answer["gram"][of][0][0]) ** 0.5

    def loss(self, split: str) -> float:
        """The mean loss on the samples of a split."""
        return next(float(s["loss"]) for s in self.answer["about"]["scores"] if s["split"] == split)


@dataclass(frozen=True)
class Looked:
    """What the page has picked: one or two checkpoints, and which plane is drawn of them."""

    seen: tuple[Seen, ...]
    plane: str = "eigen"

    def look(self, i: int) -> dict[str, str]:
        """Name, colour, dash and marker of a checkpoint."""
        colour, dash, marker = COLOURS[i]
        return {"line": self.seen[i].name, "colour": colour, "dash": dash, "marker": marker}

    def but(self, plane: str) -> Looked:
        """Another plane of the same."""
        return replace(self, plane=plane)

    @property
    def setting(self) -> str:
        """On what, and how many samples, in a sentence without its full stop."""
        look = self.seen[0].look
        n = self.seen[0].answer["about"]["samples"]
        return f"On {n} {'training' if look.split == 'train' else 'test'} samples of {look.problem.title}"

    @property
    def losses(self) -> str:
        """The loss of each, which the curvature falls with: it stands beside every picture."""
        split = self.seen[0].look.split
        each = [f"{words.number(s.loss(split), keep=True)} ({s.name})" for s in self.seen]
        return f"{'Training' if split == 'train' else 'Test'} loss at the weights: {captions.listed(each)}."


class LookView(View[Looked]):
    """A view of one or two checkpoints."""

    page = "checkpoints"

    def choices(self, at: Looked) -> Iterator[tuple[str, Looked]]:
        """What is taken away of it, and what each adds to the name of its files."""
        yield "", at

    def name(self, at: Looked) -> str:
        """The keys of the answers are in it."""
        return "-".join([super().name(at), *(s.look.key[:6] for s in at.seen)])


def compared(at: Looked, values: Sequence[float], what: str) -> str:
    """A sentence on a number of each, and their ratio."""
    each = [f"{words.number(v, keep=True)} ({s.name})" for v, s in zip(values, at.seen, strict=True)]
    ratio = f", a ratio of {words.number(values[0] / values[1])}" if len(values) == 2 and values[1] else ""
    return f"{what}: {captions.listed(each)}{ratio}."


def bounded(value: float, stderr: float, dof: float = math.inf) -> dict[str, float]:
    """A value and its 95 % interval, of t where the error was itself estimated from few draws: y, low, high."""
    half = float(statistics.half_width(stderr, dof + 1))
    return {"y": value, "low": value - half, "high": value + half}


def each(at: Looked, prefix: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """What was measured as PREFIX... of every checkpoint: its number, what follows, and its row, `bounded`."""
    for i, seen in enumerate(at.seen):
        for r in seen.measured[seen.measured["quantity"].str.startswith(prefix)].to_dict("records"):
            yield (
                i,
                str(r["quantity"]).removeprefix(prefix),
                {str(k): v for k, v in r.items()} | bounded(r["value"], r["stderr"], r["dof"]),
            )
