"""The record of a decision: a line of JSON for what was fixed, each rung, the plan, each look, the answer, as it comes.

Lines are only added. The same command again begins anew in the same file; what counts is from the last beginning on.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sam_dash.decide.rule import Look, Pair, Plan, Rung
from sam_dash.runs.plain import finite, plain
from sam_dash.surroundings import data_dir, private

RULE = 1  # the version of the rule, which a record names
BEGIN, PLAN, LOOK, ANSWER = "begin", "plan", "look", "answer"
FAMILIES = ("base", "sam")


@dataclass(frozen=True)
class Effort:
    """What a family has taken: runs, mini-batch gradients, and seconds of training as the store has them."""

    runs: int = 0
    gradients: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Effort) -> Effort:
        return Effort(self.runs + other.runs, self.gradients + other.gradients, self.seconds + other.seconds)

    @property
    def each(self) -> Effort:
        """That of one run, on average."""
        return Effort(1, self.gradients / self.runs, self.seconds / self.runs)


@dataclass
class Decision:
    """A decision as far as its record goes.

    Attributes:
        key: of the record.
        problem: its title.
        score: the key of the score; differences are in its units, larger is better.
        margin: the gain that matters, in these units.
        began: when, in seconds since 1970.
        rungs: of each family that has begun, the rungs so far.
        plan: what was fixed before the first fresh seed; None before that.
        looks: so far.
        verdict: "" while there is none.
        sentence: the answer in words.
        effort: by family.
    """

    key: str
    problem: str
    score: str
    margin: float
    began: float
    rungs: dict[str, list[Rung]] = field(default_factory=dict)
    plan: Plan | None = None
    looks: list[Look] = field(default_factory=list)
    verdict: str = ""
    sentence: str = ""
    effort: dict[str, Effort] = field(default_factory=dict)


class Record:
    """The file of a decision, to be written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, key: str) -> Record:
        """The record of a problem, its training and its seeds."""
        return cls(folder() / f"{key}.jsonl")

    @property
    def margin(self) -> float | None:
        """The margin that it was begun with; None where it was not."""
        if not self.path.exists():
            return None
        with self.path.open(encoding="utf-8") as file:
            return float(json.loads(file.readline())["margin"])

    def say(self, what: str, found: Any) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, **finite(plain(found))}, ensure_ascii=False) + "\n")


def folder() -> Path:
    """Where records are kept: decisions in the user's data."""
    return private(data_dir() / "decisions")


def recorded() -> list[Path]:
    """The records there are, the last written first."""
    return sorted(folder().glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)


def read(path: Path) -> Decision | None:
    """The decision of a record; None for a file that is none, or of another version of the rule.

    A last line that is still being written is left out.
    """
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    begun = [i for i, line in enumerate(lines) if line.get("what") == BEGIN]
    if not begun or lines[begun[-1]].get("rule") != RULE or "score" not in lines[begun[-1]]:
        return None
    first, *rest = lines[begun[-1] :]
    out = Decision(path.stem, *(first[name] for name in ("problem", "score", "margin", "began")))
    for line in rest:
        what = line.pop("what")
        out.effort |= {family: Effort(**of) for family, of in line.pop("effort", {}).items()}
        if what in FAMILIES:
            means = {arm: _number(mean) for arm, mean in line["means"].items()}
            out.rungs.setdefault(what, []).append(Rung(line["seeds"], means, tuple(line["kept"])))
        elif what == PLAN:
            bounds = {int(n): c for n, c in line["bounds"].items()}
            out.plan = Plan(line["margin"], line["sd"], line["N"], bounds, tuple(line["base"]), tuple(line["sam"]))
        elif what == LOOK:
            pairs = [
                Pair(**p | {"mean": _number(p["mean"]), "half": _number(p["half"], math.inf)}) for p in line["pairs"]
            ]
            out.looks.append(Look(line["n"], tuple(pairs), line["out"]))
        elif what == ANSWER:
            out.verdict, out.sentence = line["verdict"], line["sentence"]
    return out


def _number(value: float | None, missing: float = math.nan) -> float:
    """A number, or what JSON could not say: a mean of runs that collapsed, an interval without an end."""
    return missing if value is None else value
