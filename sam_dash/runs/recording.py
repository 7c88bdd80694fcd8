"""Recorded runs: what was said of a run that trained in a loop of its own, and of the study that it belongs to.

They stand where a `RunSpec` and a `SweepSpec` stand wherever a study is read. Nothing can be trained from them: their
data are not here, so that whatever would price or load them raises SpecError. Their keys begin with a letter that no
hash has, and can therefore not be taken for those of a run that could be repeated.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sam_dash import variants
from sam_dash.problems.problem import RECORDED, Problem, SpecError, check, check_number
from sam_dash.runs.plain import digest
from sam_dash.runs.spec import Measures, RunSpec, SweepSpec, Training, from_dict

MARK = "r"  # no hex digit
QUANTITY = re.compile(r"[A-Za-z][\w@=.+/-]{0,63}")
"""What may be the name of a number that is logged."""
MAX_TEXT = 80  # characters of a name
MAX_RUNS = 5000
NOT_AGAIN = "recorded in a loop of its own: it can be read and compared here, but not repeated"
SETTING = str | int | float | bool


def is_recorded(key: str) -> bool:
    """Whether a run's or a study's key is that of a recorded one."""
    return key.startswith(MARK)


def new_key() -> str:
    """A key for one more recorded run, drawn at random: two runs of one name are two runs."""
    return MARK + secrets.token_hex(6)[:11]


def checked_text(what: str, text: Any, least: int = 1) -> str:
    """A name as it may be kept and shown; SpecError for one that is empty, long, no text, or has control characters."""
    good = isinstance(text, str) and least <= len(text.strip()) and len(text) <= MAX_TEXT and text.isprintable()
    check(good, f"{what} = {str(text)[:MAX_TEXT]!r}: expected a text of {least} to {MAX_TEXT} printable characters")
    return str(text.strip())


@dataclass(frozen=True, kw_only=True)
class RecordedProblem(Problem):
    """The name of what was trained on, and of the network. Nothing else is known."""

    def __post_init__(self) -> None:
        checked_text("network", self.network, 0)

    @property
    def title(self) -> str:
        """The study's name."""
        return self.dataset.removeprefix(RECORDED)

    @cached_property
    def samples(self) -> int | None:
        """Not known."""
        return None

    def notes(self) -> list[str]:
        """Nothing is to be said."""
        return []


@dataclass(frozen=True, kw_only=True)
class RecordedTraining(Training):
    """The batch size B and steps of an epoch, 0 where not said; `settings`: what else was said of all runs."""

    batch: int = 0
    epochs: int = 0
    steps_per_epoch: int = 0
    settings: Mapping[str, SETTING] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("batch", "steps_per_epoch"):
            check_number(self, name, 0, 2**31 - 1, whole=True)
        check(isinstance(self.settings, Mapping), f"settings = {self.settings!r}: expected names with values")
        for name, value in self.settings.items():
            checked_text("setting", name)
            check(isinstance(value, SETTING), f"setting {name} = {value!r}: expected a text, a number, true or false")
            check(len(str(value)) <= 200, f"setting {name}: more than 200 characters")

    def said(self) -> dict[str, Any]:
        """What was said, as plain JSON values."""
        return {"batch": self.batch, "steps_per_epoch": self.steps_per_epoch, "settings": dict(self.settings)}


@dataclass(frozen=True, kw_only=True)
class RecordedRun(RunSpec):
    """What was said of one recorded run.

    `name`: its own. `source`: the file that it came from; "" where a `Recorder` wrote it. `variant`: one of ours, or
    any name. Of the knobs only those are known that were said, and m of a variant with a perturbation is B if left out.
    """

    id: str = field(default_factory=new_key)
    name: str = ""
    source: str = ""
    problem: Problem = field(default_factory=RecordedProblem)
    training: Training = field(default_factory=RecordedTraining)

    def __post_init__(self) -> None:
        check(
            isinstance(self.id, str) and is_recorded(self.id) and len(self.id) == 12 and self.id.isalnum(),
            f"key {self.id!r}: expected that of a recorded run, {MARK!r} and 11 hex digits",
        )
        checked_text("name", self.name)
        checked_text("source", self.source, 0)
        checked_text("variant", self.variant)
        check_number(self, "seed", 0, 2**31 - 1, whole=True)
        B, v = self.training.batch, variants.REGISTRY.get(self.variant)
        check(isinstance(self.knobs, Mapping), f"knobs = {self.knobs!r}: expected names with values")
        known = v.knobs if v else {name: k for each in variants.REGISTRY.values() for name, k in each.knobs.items()}
        for name in self.knobs:
            check(
                name in known,
                f"{self.variant} has no knob {name!r}; expected one of {', '.join(known) or 'none'}. What all runs of "
                "the study share belongs into settings={...}",
            )
        try:
            object.__setattr__(self, "knobs", {name: known[name].check(name, x) for name, x in self.knobs.items()})
        except ValueError as error:
            raise SpecError(str(error)) from None
        if v and "rho" not in v.knobs:
            object.__setattr__(self, "m", None)
        elif self.m is None:
            object.__setattr__(self, "m", B or None)
        whole = isinstance(self.m, int) and not isinstance(self.m, bool)
        check(self.m is None or (whole and self.m >= 1), f"m = {self.m!r}: expected a whole number of samples")
        check(not B or self.m is None or self.m <= B, f"m = {self.m}: more than the batch of B = {B}")
        check(not v or v.uses_m or self.m in (None, B or None), f"{v and v.title} has no micro-batches; leave m out")

    @cached_property
    def key(self) -> str:
        """The key that it was given when it began."""
        return self.id

    @property
    def group(self) -> str:
        """Its own key: it trains with no other."""
        return self.id

    def gradients(self, steps: float) -> float:
        """Mini-batch gradients of so many steps; nan of an unknown variant, and of one with full-data gradients."""
        v = variants.REGISTRY.get(self.variant)
        if v is None:
            return math.nan
        per: float = v.cost(**v.defaults() | dict(self.knobs)).in_gradients(math.nan)
        return steps * per

    def said(self) -> dict[str, Any]:
        """What tells it from the others of its study, as plain JSON values."""
        told = {"id": self.id, "name": self.name, "source": self.source}
        return told | {"variant": self.variant, "m": self.m, "knobs": dict(self.knobs), "seed": self.seed}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, in the places where a `RunSpec` has them."""
        training = self.training.said() if isinstance(self.training, RecordedTraining) else {}
        settings = training.pop("settings", {})
        problem = {"dataset": self.problem.dataset, "network": self.problem.network}
        return {"recorded": True, **self.said(), "problem": problem, "training": {**settings, **training}}


@dataclass(frozen=True, kw_only=True)
class RecordedStudy(SweepSpec):
    """Recorded runs that can be compared: one name, network, batch size and settings; the rest tells the runs apart.

    What a `SweepSpec` plans, this has: `variants`, `m`, `knobs` and `seeds` are those of its runs.
    """

    name: str = ""
    problem: Problem = field(default_factory=RecordedProblem)
    training: Training = field(default_factory=RecordedTraining)
    measures: Measures = field(default_factory=lambda: Measures(what=()))
    recorded: tuple[RecordedRun, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", checked_text("study", self.name))
        object.__setattr__(self, "problem", replace(self.problem, dataset=RECORDED + self.name))
        check(len(self.recorded) <= MAX_RUNS, f"more than {MAX_RUNS} runs in one study; give new ones another name")
        own = [replace(r, problem=self.problem, training=self.training) for r in self.recorded]
        object.__setattr__(self, "recorded", tuple({r.id: r for r in own}.values()))
        knobs: dict[str, dict[Any, None]] = {}
        for run in own:
            for name, value in run.knobs.items():
                knobs.setdefault(name, {})[value] = None
        for field_, values in (
            ("variants", tuple(dict.fromkeys(r.variant for r in own))),
            ("m", tuple(dict.fromkeys(r.m for r in own if r.m is not None))),
            ("seeds", tuple(dict.fromkeys(r.seed for r in own))),
            ("knobs", {name: tuple(values) for name, values in knobs.items()}),
            ("networks", ()),
            ("preset", ""),
        ):
            object.__setattr__(self, field_, values)

    def runs(self) -> tuple[RunSpec, ...]:
        """The runs, in the order in which they began."""
        return self.recorded

    def with_run(self, *runs: RecordedRun) -> RecordedStudy:
        """The study and further runs, which take their problem and their training from it."""
        return replace(self, recorded=(*self.recorded, *runs))

    def _shared(self) -> dict[str, Any]:
        training = self.training.said() if isinstance(self.training, RecordedTraining) else {}
        return {"recorded": self.name, "network": self.problem.network, **training}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `read` is the other way."""
        return {**self._shared(), "runs": [run.said() for run in self.recorded]}

    @property
    def key(self) -> str:
        """The key of what its runs share: runs that share it meet in one study, whoever records them."""
        return MARK + digest(self._shared())[:11]

    @staticmethod
    def read(data: Mapping[str, Any]) -> RecordedStudy:
        """The study of `to_dict`; SpecError for what is none."""
        told = dict(data)
        check("recorded" in told, "expected the name of a study under 'recorded'")
        name, network, rows = told.pop("recorded"), told.pop("network", ""), told.pop("runs", [])
        strange = [key for key in told if key not in ("batch", "steps_per_epoch", "settings")]
        check(not strange, f"unknown field {strange[:1]} in a study of recorded runs")
        problem = RecordedProblem(dataset=RECORDED, network=network)
        training = from_dict(RecordedTraining, told)
        check(isinstance(rows, list), f"runs of {str(name)[:MAX_TEXT]!r}: expected a list")
        recorded = tuple(from_dict(RecordedRun, {"training": training, **_object(row)}) for row in rows)
        return RecordedStudy(name=name, problem=problem, training=training, recorded=recorded)


def _object(row: Any) -> Mapping[str, Any]:
    check(isinstance(row, Mapping), f"expected a JSON object for a run, got {type(row).__name__}")
    check("training" not in row and "problem" not in row, "a recorded run shares its problem and training")
    return row


def sweep_from(data: Any) -> SweepSpec:
    """A sweep or a study of recorded runs from plain JSON values; SpecError for anything else."""
    if isinstance(data, Mapping) and "recorded" in data:
        return RecordedStudy.read(data)
    found: SweepSpec = from_dict(SweepSpec, data)
    return found
