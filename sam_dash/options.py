"""The options of `run`, one for every field of a sweep and every knob of a variant, and the sweep they describe."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from sam_dash import variants
from sam_dash.maths.contract import Knob
from sam_dash.problems.architecture import FAMILIES
from sam_dash.problems.card import FILE
from sam_dash.problems.datasets import NPZ, describe
from sam_dash.problems.own_files import TARGETS, keep_csv
from sam_dash.problems.problem import Problem, check_choice, facts, reset
from sam_dash.runs import grammar, presets
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.recording import NOT_AGAIN, RecordedStudy, sweep_from
from sam_dash.runs.spec import Measures, SpecError, SweepSpec, Training, divisors

NAMES = {"every": "measure-every", "what": "measure"}  # where an option is not called as its field
NAMES_BACK = {option.replace("-", "_"): name for name, option in NAMES.items()}
NO_DEFAULTS = ("preset", "dataset", "problem", "npz", "network", "networks", "scaling")  # what a problem file is itself
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
    add(data, "problem", "FILE.py", "your own data, network and loss: see docs/problems.md")
    add(
        data,
        "npz",
        "FILE",
        f"your own arrays x_train, y_train, x_test, y_test, or x, y; preset {presets.FIRST} if none is named",
    )
    add(data, "csv", "FILE", "your own table of numbers, a column of it the labels; it is kept as an .npz")
    add(run, "target", "COLUMN", f"which column of --csv holds the labels; {', '.join(TARGETS)} is found by its name")
    network = run.add_mutually_exclusive_group()
    add(network, "network", "mlp:64", "; ".join(f"{family}: {about}" for family, about in FAMILIES.items()))
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
    found = [_changed(sweep, args) for sweep in source(args)]
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
        if args.network is not None or args.problem is not None:
            axes["networks"] = axes.get("networks", ())
        known = {knob for key in axes.get("variants", base.variants) for knob in variants.get(key).knobs}
        kept = {k: v for k, v in base.knobs.items() if k in known}
        chosen = _given(args, {name: _some(name, knob) for name, (knob, _) in knobs().items()})
        return presets.labelled(replace(base, **axes, knobs={**kept, **chosen}), base)
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(str(error)) from None


def source(args: argparse.Namespace) -> tuple[SweepSpec, ...]:
    """What a command is given to start from: a preset, a file of a specification, a problem file, or data."""
    if args.preset is not None and args.spec is not None:
        raise SpecError(f"run takes either --preset {args.preset} or {args.spec}, not both")
    if all(given is None for given in (args.preset, args.spec, args.npz, args.csv, args.problem)):
        raise SpecError(
            "run needs either --preset NAME or SPEC.json, or your own by --problem FILE.py, --npz FILE or --csv FILE"
        )
    if args.preset is None and args.spec is None and args.problem is not None:
        return (of_problem(whole(args.problem)),)
    if args.spec is None:
        return presets.get(args.preset or presets.FIRST).sweeps
    path = Path(args.spec)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ValueError as error:  # bad JSON, or not text
        raise SpecError(f"{str(path)!r} is not JSON: {error}") from None
    sweep = sweep_from(data)
    if isinstance(sweep, RecordedStudy):
        raise SpecError(f"{str(path)!r}: {NOT_AGAIN}")
    return (sweep,)


def whole(path: str) -> Path:
    """The whole path of a file that is named on the command line."""
    return Path(path).expanduser().absolute()


def of_problem(path: Path) -> SweepSpec:
    """The sweep that a problem file starts with: plain, SGD and SAM at three m, and what its `defaults` say.

    SpecError, in one line, for a file that cannot be used, and for a default that is no option or cannot be.
    """
    problem = Problem(dataset=FILE + str(path))
    found = problem.card
    assert found is not None, "it has just been read"
    batch = min(64, 2 ** (found.n_train.bit_length() - 1))
    base = SweepSpec(variants=("sgd", "sam"), problem=problem, training=Training(batch=batch))
    given = {NAMES_BACK.get(name, name): value for name, value in found.defaults.items()}
    parser = _Refusing(add_help=False, allow_abbrev=False)
    add_sweep_options(parser)
    known = [action.dest for action in parser._actions if action.option_strings and action.dest not in NO_DEFAULTS]
    try:
        for name in given:
            check_choice("option", name, known)
        said = [f"--{option(name)}={_said(value)}" for name, value in given.items()]
        sweep = _changed(base, parser.parse_args(said))
        return sweep if "m" in given else replace(sweep, m=_three(sweep.training.batch))
    except SpecError as error:
        raise SpecError(f"{path.name}: defaults: {error}") from None


def _said(value: Any) -> str:
    return grammar.texts(value, ",") if isinstance(value, list) else grammar.text(value)


def _three(batch: int) -> tuple[int, ...]:
    """B, a divisor of about its root, and 1."""
    middle = min(divisors(batch), key=lambda m: abs(m * m - batch))
    return tuple(dict.fromkeys((batch, middle, 1)))


class _Refusing(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SpecError(message)


def _data(base: Problem, args: argparse.Namespace) -> dict[str, Any]:
    """The data set that is asked for, and what starts anew with it."""
    if args.target is not None and args.csv is None:
        raise SpecError(f"--target {args.target}: names a column of --csv FILE, which is not given")
    if args.problem is not None:
        name = FILE + str(whole(args.problem))
        if name == base.dataset and args.spec is None:  # it has just been read
            return {}
    elif args.csv is not None:
        name = _table(Path(args.csv).expanduser(), args.target or "")
    elif args.npz is not None:
        name = NPZ + str(whole(args.npz))
        describe(name)
    elif args.dataset is not None:
        name = args.dataset
    else:
        return {}
    hashed = {"data_hash": ""}  # it is of the data set that is replaced
    return {"dataset": name, **hashed, **reset(base.dataset, name)}


def _table(path: Path, target: str) -> str:
    try:
        return keep_csv(path.name, path.read_bytes(), target)
    except OSError as error:
        raise SpecError(f"cannot read {str(path)!r}: {error.strerror}") from None


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
