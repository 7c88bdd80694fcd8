"""A sweep as the command line that starts it: the nearest preset and the options that change it."""

from __future__ import annotations

import argparse
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from sam_dash import options, variants
from sam_dash.problems.datasets import NPZ
from sam_dash.problems.problem import facts, reset
from sam_dash.runs import grammar, presets
from sam_dash.runs.spec import SpecError, SweepSpec


def line(sweep: SweepSpec) -> str | None:
    """The shortest one that starts the same runs; None where no options say it and a file is needed."""
    if sweep.problem.is_file:
        path = sweep.problem.path
        return next((_command(each) for each in _of_file(path, sweep) if _starts(each, sweep)), None)
    said = [["--preset", name, *words(preset.sweep, sweep)] for name, preset in presets.PRESETS.items()]
    return next((_command(each) for each in sorted(said, key=_length) if _starts(each, sweep)), None)


def _of_file(path: Path, sweep: SweepSpec) -> list[list[str]]:
    """The options that start a sweep on a problem file; none where that cannot be run here."""
    try:
        return [["--problem", str(path), *words(options.of_problem(path), sweep)]]
    except SpecError:
        return []


def preset(name: str) -> str:
    """The one that starts a preset as it is."""
    return _command(["--preset", name])


def words(base: SweepSpec, sweep: SweepSpec) -> list[str]:
    """The options that make `sweep` of `base`."""
    out: list[str] = []

    def say(name: str, old: Any, new: Any, text: str) -> None:
        if old != new:
            out.append(f"--{options.option(name)}={text}")

    say("variants", base.variants, sweep.variants, ",".join(sweep.variants))
    say("m", base.m, sweep.m or (sweep.training.batch,), grammar.texts(sweep.m or (sweep.training.batch,), ","))
    say("seeds", base.seeds, sweep.seeds, grammar.seeds_text(sweep.seeds, ","))
    for name in dict.fromkeys(knob for key in sweep.variants for knob in variants.get(key).knobs):
        chosen = sweep.knobs.get(name, ())
        say(name, base.knobs.get(name, ()), chosen, grammar.texts(chosen, ","))
    data = sweep.problem.dataset
    anew = reset(base.problem.dataset, data)
    say("npz" if data.startswith(NPZ) else "dataset", base.problem.dataset, data, data.removeprefix(NPZ))
    before, after = ([p.network for p in each.problems] for each in (base, sweep))
    if not sweep.problem.is_file:
        say("networks" if sweep.networks else "network", before, after, ",".join(after))
    say("what", base.measures.what, sweep.measures.what, ",".join(sweep.measures.what) or "none")
    for part, cls in options.PARTS.items():
        for name in facts(cls):
            old, new = (getattr(getattr(each, part), name) for each in (base, sweep))
            say(name, anew.get(name, old), new, grammar.text(new))
    return out


def _length(said: list[str]) -> int:
    return len(_command(said))


@cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    options.add_sweep_options(parser)
    return parser


def _starts(said: list[str], sweep: SweepSpec) -> bool:
    """Whether these options start the runs of a sweep and no others."""
    try:
        again = options.sweeps_of(_parser().parse_args(said))
    except (SpecError, argparse.ArgumentError, SystemExit):
        return False
    return {r.key for s in again for r in s.runs()} == {r.key for r in sweep.runs()}


def _command(said: list[str]) -> str:
    return f"python -m sam_dash run {shlex.join(said)} --out results"
