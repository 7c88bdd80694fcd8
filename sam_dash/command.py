"""A sweep as the command line that starts it: the nearest preset and the options that change it."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from sam_dash import options, variants
from sam_dash.problems.datasets import NPZ
from sam_dash.runs import presets
from sam_dash.runs.spec import SpecError, SweepSpec


def line(sweep: SweepSpec) -> str | None:
    """The shortest one that starts the same runs; None where options cannot say it and a file is needed."""
    found = [text for name in presets.PRESETS if (text := _from(name, sweep)) is not None]
    return min(found, key=len, default=None)


def _from(name: str, sweep: SweepSpec) -> str | None:
    base = presets.get(name).sweep
    words = ["--preset", name, *_changes(base, sweep)]
    parser = argparse.ArgumentParser(exit_on_error=False)
    options.add_sweep_options(parser)
    try:
        again = options.sweeps_of(parser.parse_args(words))
    except (SpecError, argparse.ArgumentError, SystemExit):
        return None
    if {r.key for s in again for r in s.runs()} != {r.key for r in sweep.runs()}:
        return None
    return _command(words)


def preset(name: str) -> str:
    """The one that starts a preset as it is."""
    return _command(["--preset", name])


def _command(words: list[str]) -> str:
    return "python -m sam_dash run " + shlex.join(words) + " --out results"


def _changes(base: SweepSpec, sweep: SweepSpec) -> list[str]:
    words: list[str] = []

    def say(option: str, old: Any, new: Any, text: str) -> None:
        if old != new:
            words.append(f"--{option}={text}")

    say("variants", base.variants, sweep.variants, ",".join(sweep.variants))
    say("m", base.m, sweep.m, ",".join(map(str, sweep.m)))
    say("seeds", base.seeds, sweep.seeds, _seeds(sweep.seeds))
    known = {n: k for v in sweep.variants for n, k in variants.get(v).knobs.items()}
    unsaid = {n: (known[n].default,) for n in base.knobs if n in known and n not in sweep.knobs}
    for knob, values in {**sweep.knobs, **unsaid}.items():
        option = knob if knob in ("rho", "lam") else "knob"
        text = ",".join(str(v).lower() if isinstance(v, bool) else f"{v}" for v in values)
        say(option, base.knobs.get(knob), values, text if option == knob else f"{knob}={text}")
    for field in ("epochs", "batch"):
        value = getattr(sweep.training, field)
        say(field, getattr(base.training, field), value, str(value))
    name = sweep.problem.dataset
    say("npz" if name.startswith(NPZ) else "dataset", base.problem.dataset, name, name.removeprefix(NPZ))
    option, names = ("networks" if sweep.networks else "network"), _networks(sweep)
    say(option, _networks(base), names, ",".join(names))
    say("measure", base.measures.what, sweep.measures.what, ",".join(sweep.measures.what) or "none")
    say("measure-every", base.measures.every, sweep.measures.every, str(sweep.measures.every))
    return words


def _networks(sweep: SweepSpec) -> tuple[str, ...]:
    return tuple(p.network for p in sweep.problems)


def _seeds(seeds: tuple[int, ...]) -> str:
    if seeds == tuple(range(len(seeds))):
        return str(len(seeds))
    return ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")
