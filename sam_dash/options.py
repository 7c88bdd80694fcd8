"""The options of `run`, one for every field of a sweep and every knob of a variant, and the sweep they describe."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam_dash import variants
from sam_dash.maths.contract import Knob
from sam_dash.problems.datasets import NPZ, describe
from sam_dash.problems.problem import Problem, facts, reset
from sam_dash.runs import grammar, presets
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.spec import Measures, SpecError, SweepSpec, Training, from_dict

NAMES = {"every": "measure-every", "what": "measure"}  # where an option is not called as its field
PARTS = {"problem": Problem, "training": Training, "measures": Measures}


def option(name: str) -> str:
    """The option of a field or a knob: "label_noise" is --label-noise."""
    return NAMES.get(name, name).replace("_", "-")


def knobs() -> dict[str, tuple[Knob, list[str]]]:
    """Every knob of the registered variants, and the titles of those that have it."""
    out: dict[str, tuple[Knob, list[str]]] = {}
    for variant in variants.REGISTRY.values():
        for name, knob in variant.knobs.items():
            out.setdefault(name, (knob, []))[1].append(variant.title)
    return out


def add_sweep_options(run: argparse.ArgumentParser) -> None:
    """Add a source (a preset or a file), and options that change parts of it."""

    def add(to: Any, name: str, metavar: str, text: str) -> None:
        to.add_argument(f"--{option(name)}", dest=name, metavar=metavar, help=text.replace("%", "%%"))

    run.add_argument("spec", nargs="?", metavar="SPEC.json", help="a sweep, as in an exported config.json")
    add(run, "preset", "NAME", f"one of {', '.join(presets.PRESETS)}")
    add(run, "variants", "A,B", f"of {', '.join(variants.REGISTRY)}; or all")
    add(run, "m", "64,32", f"{grammar.SIZE.help}; one or more")
    add(run, "seeds", "0-4", "values and ranges, as 0-4 or 3,7; the seed 5 alone is 5-5; a number alone is how many")
    data = run.add_mutually_exclusive_group()
    add(data, "dataset", "NAME", "a built-in data set")
    add(
        data,
        "npz",
        "FILE",
        f"your own arrays x_train, y_train, x_test, y_test; preset {presets.FIRST} if none is named",
    )
    network = run.add_mutually_exclusive_group()
    add(network, "network", "mlp:64", "mlp:WIDTHS, cnn:CHANNELS or resnet18:WIDTH")
    add(network, "networks", "mlp:8,mlp:16", "several: every run with each of them")
    add(run, "what", "A,B", f"of {', '.join(MEASURES)}; or none")
    for part in PARTS.values():
        for name, fact in facts(part).items():
            about = f"{fact.symbol}: {fact.help}" if fact.help else fact.symbol
            add(run, name, grammar.text(fact.default), f"{about} ({grammar.expected(fact)})")
    each = run.add_argument_group("options of variants", "one or more values, separated by commas; or default")
    for name, (knob, users) in knobs().items():
        text = f"{knob.symbol}: {knob.help} ({grammar.expected(knob)}; for {', '.join(users)})"
        add(each, name, grammar.text(knob.default), text)


def sweeps_of(args: argparse.Namespace) -> list[SweepSpec]:
    """The sweeps that the options describe, several where a preset has them; SpecError otherwise."""
    found = [_changed(sweep, args) for sweep in _source(args)]
    return list({sweep.key: sweep for sweep in found}.values())


def _changed(base: SweepSpec, args: argparse.Namespace) -> SweepSpec:
    try:
        changes: dict[str, Any] = {}
        for part, cls in PARTS.items():
            changes[part] = _given(args, {name: _one(name, fact) for name, fact in facts(cls).items()})
        changes["problem"] = _data(base.problem, args) | changes["problem"] | _given(args, {"network": _only})
        changes["measures"] |= _given(args, {"what": _several("none", ())})
        axes: dict[str, Any] = {part: replace(getattr(base, part), **found) for part, found in changes.items()}
        axes |= _given(args, {"variants": _several("all", variants.REGISTRY), "networks": _several()})
        axes |= _given(args, {"m": lambda text: grammar.values("--m", grammar.SIZE, text), "seeds": grammar.seeds})
        if args.network is not None:
            axes["networks"] = ()
        known = {knob for key in axes.get("variants", base.variants) for knob in variants.get(key).knobs}
        kept = {k: v for k, v in base.knobs.items() if k in known}
        chosen = _given(args, {name: _some(name, knob) for name, (knob, _) in knobs().items()})
        return presets.labelled(replace(base, **axes, knobs={**kept, **chosen}), base)
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(str(error)) from None


def _source(args: argparse.Namespace) -> tuple[SweepSpec, ...]:
    if args.preset is not None and args.spec is not None:
        raise SpecError(f"run takes either --preset {args.preset} or {args.spec}, not both")
    if args.preset is None and args.spec is None and args.npz is None:
        raise SpecError("run needs either --preset NAME or SPEC.json, or your own data by --npz FILE")
    if args.spec is None:
        return presets.get(args.preset or presets.FIRST).sweeps
    path = Path(args.spec)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ValueError as error:  # bad JSON, or not text
        raise SpecError(f"{str(path)!r} is not JSON: {error}") from None
    return (from_dict(SweepSpec, data),)


def _data(base: Problem, args: argparse.Namespace) -> dict[str, Any]:
    """The data set that is asked for, and what starts anew with it."""
    if args.npz is None and args.dataset is None:
        return {}
    name = args.dataset if args.npz is None else NPZ + str(Path(args.npz).expanduser().absolute())
    if args.npz is not None:
        describe(name)
    hashed = {"data_hash": ""}  # it is of the data set that is replaced
    return {"dataset": name, **hashed, **reset(base.dataset, name)}


def _given(args: argparse.Namespace, parsers: dict[str, Callable[[str], Any]]) -> dict[str, Any]:
    """The options that were given, parsed."""
    return {name: parse(text) for name, parse in parsers.items() if (text := getattr(args, name)) is not None}


def _one(name: str, fact: Knob) -> Callable[[str], Any]:
    return lambda text: grammar.value(f"--{option(name)}", fact, text)


def _some(name: str, knob: Knob) -> Callable[[str], Any]:
    return lambda text: grammar.values(f"--{option(name)}", knob, text)


def _several(word: str = "", means: Iterable[str] = ()) -> Callable[[str], tuple[str, ...]]:
    """A list of names, for all of which one word may stand."""
    return lambda text: tuple(means) if text.strip() == word else grammar.words(text)


def _only(text: str) -> str:
    found = grammar.words(text)
    if len(found) != 1:
        raise SpecError(f"--network {text!r}: expected one network, such as mlp:64; for several use --networks")
    return found[0]
