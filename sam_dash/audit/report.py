"""What an audit found, a line each: found, expected, a light, and what to change."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

GREEN, AMBER, RED = LIGHTS = "green", "amber", "red"
MOST, LONG = 10**6, 2000  # bytes of a report that is read, and characters of a text in it


@dataclass(frozen=True)
class Line:
    """One question and its answer.

    `light`: green, as it should be; amber, unusual or not to be told from outside; red, a fault, or not as expected.
    """

    what: str
    found: str
    light: str
    change: str = ""  # what to change
    expected: str = ""  # as the caller told
    evidence: str = ""


@dataclass(frozen=True)
class Report:
    """What one or more steps of a training loop were; the same on every rank.

    Attributes:
        m: samples that share a perturbation, over all ranks; None where it cannot be told.
        rho: ‖eps‖ as applied, by rank: the mean over the perturbations seen; () where none was.
        common: whether all ranks have one perturbation; None on one rank, or where none was seen.
        left: what is left of eps when the optimiser steps, as a share of ‖eps‖; 0 where weights are put back exactly.
        steps: the steps that were watched.
        ranks: the number of processes.
        lines: the findings, a `Line` each.
    """

    m: int | None
    rho: tuple[float, ...]
    common: bool | None
    left: float | None
    steps: int
    ranks: int
    lines: tuple[Line, ...]

    @property
    def light(self) -> str:
        """The worst light of all lines."""
        lights = {line.light for line in self.lines}
        return RED if RED in lights else AMBER if AMBER in lights else GREEN

    @property
    def watched(self) -> str:
        """How many steps of how many processes: "3 steps on 2 ranks"."""
        where = "1 process" if self.ranks == 1 else f"{self.ranks} ranks"
        return f"{self.steps} step{'s' * (self.steps != 1)} on {where}"

    def line(self, what: str) -> Line:
        """The line that answers a question; KeyError where it was not asked."""
        return {line.what: line for line in self.lines}[what]

    def to_json(self) -> str:
        """All of it, as one JSON object."""
        return json.dumps(asdict(self) | {"light": self.light}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """The report that `to_json` wrote, or the bytes of its file; ValueError, in one line, for anything else."""
        if len(text) > MOST:
            raise ValueError(f"{len(text) / 1e6:.1f} MB; a report has at most {MOST / 1e6:g} MB")
        try:
            found = json.loads(text if isinstance(text, str) else text.decode("utf-8", errors="replace"))
        except (ValueError, RecursionError):
            raise ValueError("no JSON; expected what `sam-dash audit --json` writes") from None
        return checked(found)

    def headline(self) -> str:
        """The sentence that the lines support most: what is wrong first, then which m it is."""
        said = {line.what: line for line in self.lines}
        first = next((line for light in (RED, AMBER) for line in self.lines if line.light == light), None)
        m = f"m = {self.m}" if self.m is not None else "m cannot be told"
        if first is None:
            return f"{m}, and nothing is wrong: {said['m'].found}." if "m" in said else f"{m}, and nothing is wrong."
        wrong = [line.what for line in self.lines if line.light == first.light]
        kind = {RED: "fault", AMBER: "doubt"}[first.light] + "s" * (len(wrong) > 1)
        told = f"; expected {first.expected}" if first.expected else ""
        return f"{m}; {len(wrong)} {kind} ({', '.join(wrong)}): {first.found}{told}."

    def __str__(self) -> str:
        return "\n".join(_text(self))


def checked(found: Any) -> Report:
    """The report of these values; ValueError for any that cannot be in one."""

    def fits(name: str, good: bool, expected: str) -> None:
        if not good:
            raise ValueError(f"{name}: expected {expected}; it is no report of `sam-dash audit --json`")

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300

    def is_whole(value: Any, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**53

    fits("the whole", isinstance(found, dict), "an object")
    names = [f.name for f in fields(Report)]
    fits("the whole", set(names) <= set(found), f"the names {', '.join(names)}")
    fits("m", found["m"] is None or is_whole(found["m"], 1), "a whole number from 1 on, or null")
    rho, lines = found["rho"], found["lines"]
    fits("rho", isinstance(rho, list) and len(rho) <= LONG and all(map(is_number, rho)), "a list of numbers")
    fits("common", found["common"] in (None, True, False), "true, false or null")
    fits("left", found["left"] is None or is_number(found["left"]), "a number or null")
    fits("steps", is_whole(found["steps"], 1), "a whole number from 1 on")
    fits("ranks", is_whole(found["ranks"], 1), "a whole number from 1 on")
    fits("lines", isinstance(lines, list) and len(lines) <= LONG, "a list")
    keys = {f.name for f in fields(Line)}
    for line in lines:
        fits("lines", isinstance(line, dict) and set(line) == keys, f"objects with {', '.join(sorted(keys))}")
        fits("lines", all(isinstance(v, str) and len(v) <= LONG for v in line.values()), "short texts")
        fits("light", line["light"] in LIGHTS, ", ".join(LIGHTS))
    given = {name: found[name] for name in names} | {
        "rho": tuple(map(float, rho)), "lines": tuple(Line(**line) for line in lines)
    }  # fmt: skip
    return Report(**given)


def _text(report: Report) -> Iterable[str]:
    yield report.watched
    wide = max((len(line.what) for line in report.lines), default=0)
    for line in report.lines:
        text = line.found
        text += f"; expected {line.expected}" if line.expected else ""
        text += f". {line.change}" if line.change else ""
        text += f" [{line.evidence}]" if line.evidence else ""
        first, *rest = textwrap.wrap(text, max(40, 108 - wide)) or [""]
        yield f"{line.light:5}  {line.what:{wide}}  {first}"
        yield from (f"{'':{wide + 9}}{part}" for part in rest)
