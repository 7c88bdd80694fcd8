"""Sweeps that would add to a study what it lacks."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, islice
from typing import Any

from sam_dash.results.numbers.study import Study
from sam_dash.runs.spec import SweepSpec

ANEW = "The runs are trained anew with it (a measurement is part of what a run is)."
"""What one more measurement of a study takes."""


def extended(study: Study, **changes: Any) -> SweepSpec:
    """The study's sweep with some fields changed; `knobs` and `measures` are added to what it has."""
    spec = study.spec
    if "knobs" in changes:
        changes["knobs"] = {**spec.knobs, **changes["knobs"]}
    if "measures" in changes:
        what = (*spec.measures.what, *changes["measures"].get("what", ()))
        changes["measures"] = replace(spec.measures, **{**changes["measures"], "what": what})
    return replace(spec, **changes)


def seeds(study: Study) -> tuple[int, ...]:
    """As many seeds as the study has, the lowest that are not its own: their runs do not exist yet."""
    own = set(study.spec.seeds)
    return tuple(islice((seed for seed in count() if seed not in own), len(own)))


def seeds_text(sweep: SweepSpec) -> str:
    """For example "1 further seed"."""
    return f"{len(sweep.seeds)} further seed{'s' * (len(sweep.seeds) > 1)}"
