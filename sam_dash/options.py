"""The options of `run`, and the sweep that they describe."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam_dash import variants
from sam_dash.problems.datasets import NPZ, DataError, describe
from sam_dash.runs import presets
from sam_dash.runs.spec import MAX_RUNS, MEASURES, SpecError, SweepSpec, from_dict

OPTIONS = {"what": "measure", "every": "measure-every"}


def add_sweep_options(run: argparse.ArgumentParser) -> None:
    """Add a source (a preset or a file), and options that change parts of it."""
    run.add_argument("spec", nargs="?", metavar="SPEC.json", help="a sweep, as in an exported config.json")
    run.add_argument("--preset", metavar="NAME", help=f"one of {', '.join(presets.PRESETS)}")
    run.add_argument("--variants", metavar="A,B", help=f"of {', '.join(variants.REGISTRY)}, or all")
    run.add_argument("--m", metavar="64,32", help="micro-batch sizes: divisors of the batch size")
    run.add_argument("--rho", metavar=".1,.2", help="perturbation radii")
    run.add_argument("--lam", metavar="0,.5", help="values of lambda, for the variants that have one")
    run.add_argument("--knob", action="append", default=[], metavar="NAME=V1,V2", help="any knob; repeatable")
    run.add_argument("--seeds", metavar="5 | 0-4 | 3,7", help="how many, from 0; a range; or a list")
    run.add_argument("--epochs", metavar="E")
    run.add_argument("--batch", metavar="B", help="batch size")
    data = run.add_mutually_exclusive_group()
    data.add_argument("--dataset", metavar="NAME")
    data.add_argument("--npz", metavar="FILE", help="arrays x_train, y_train, x_test, y_test")
    network = run.add_mutually_exclusive_group()
    network.add_argument("--network", metavar="mlp:64", help="mlp:WIDTHS, cnn:CHANNELS or resnet18:WIDTH")
    network.add_argument("--networks", metavar="mlp:8,mlp:16", help="several: every run with each of them")
    run.add_argument(
        "--imbalance", metavar="X", help="long tail: X times more samples of the first class than the last"
    )
    run.add_argument("--measure", dest="what", metavar="A,B", help=f"of {', '.join(MEASURES)}; or none")
    run.add_argument(
        "--measure-every", dest="every", metavar="K", help="measure every K epochs too (0: only at the end)"
    )


def sweeps_of(args: argparse.Namespace) -> list[SweepSpec]:
    """The sweeps that the options describe, several where a preset has them; SpecError otherwise."""
    found = [_changed(sweep, args) for sweep in _source(args)]
    return list({sweep.key: sweep for sweep in found}.values())


def _changed(sweep: SweepSpec, args: argparse.Namespace) -> SweepSpec:
    try:
        problem = replace(sweep.problem, **_problem(args))
        training = replace(sweep.training, **_given(args, epochs=_whole, batch=_whole))
        measures = replace(sweep.measures, **_given(args, what=_measures, every=_whole))
        axes: dict[str, Any] = _given(args, variants=_variants, m=_wholes, seeds=_seeds, networks=_words)
        if args.network is not None:
            axes["networks"] = ()
        chosen = axes.get("variants", sweep.variants)
        known = {knob for key in chosen for knob in variants.get(key).knobs}
        kept = {k: v for k, v in sweep.knobs.items() if k in known}
        return replace(
            sweep, **axes, knobs={**kept, **_knobs(args)}, problem=problem, training=training, measures=measures
        )
    except ValueError as error:
        raise SpecError(str(error)) from None


def _source(args: argparse.Namespace) -> tuple[SweepSpec, ...]:
    if (args.preset is None) == (args.spec is None):
        raise SpecError("run needs either --preset NAME or SPEC.json")
    if args.preset is not None:
        return presets.get(args.preset).sweeps
    path = Path(args.spec)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ValueError as error:  # bad JSON, or not text
        raise SpecError(f"{str(path)!r} is not JSON: {error}") from None
    return (from_dict(SweepSpec, data),)


def _problem(args: argparse.Namespace) -> dict[str, Any]:
    out = _given(args, dataset=str, network=str, imbalance=_number)
    if args.npz is not None:
        out["dataset"] = NPZ + str(Path(args.npz).expanduser().absolute())
    if "dataset" in out:
        out["data_hash"] = ""  # of the data set that is replaced
        if args.npz is not None:
            try:
                describe(out["dataset"])
            except DataError as error:
                raise SpecError(str(error)) from None
    return out


def _given(args: argparse.Namespace, **parsers: Callable[[str], Any]) -> dict[str, Any]:
    """Those of the options that were given, parsed."""
    out = {}
    for name, parse in parsers.items():
        text = getattr(args, name)
        if text is not None:
            try:
                out[name] = parse(text)
            except SpecError as error:
                raise SpecError(f"--{OPTIONS.get(name, name)} {text!r}: {error}") from None
    return out


def _knobs(args: argparse.Namespace) -> dict[str, tuple[Any, ...]]:
    texts = [f"{name}={text}" for name in ("rho", "lam") if (text := getattr(args, name)) is not None]
    out: dict[str, tuple[Any, ...]] = {}
    for text in texts + args.knob:
        name, equals, values = text.partition("=")
        if not equals:
            raise SpecError(f"--knob {text!r}: expected NAME=VALUE or NAME=V1,V2")
        out[name] = tuple(_value(v) for v in _words(values))
    return out


def _value(text: str) -> Any:
    """A number, true or false, else the text itself; the knob checks it."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _words(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise SpecError("expected values separated by commas")
    return words


def _variants(text: str) -> tuple[str, ...]:
    return tuple(variants.REGISTRY) if text == "all" else _words(text)


def _measures(text: str) -> tuple[str, ...]:
    return () if text == "none" else _words(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SpecError("expected a number") from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise SpecError("expected a whole number")
    return int(text)


def _wholes(text: str) -> tuple[int, ...]:
    return tuple(map(_whole, _words(text)))


def _seeds(text: str) -> tuple[int, ...]:
    """ "5" is 0 ... 4; "100-104" and "3,7" say which."""
    if "," in text:
        return _wholes(text.removesuffix(","))
    first, dash, last = text.partition("-")
    low, high = (_whole(first), _whole(last)) if dash else (0, _whole(text) - 1)
    if not 0 <= high - low < MAX_RUNS:
        raise SpecError(f"expected a number of seeds, a range as 0-4, or a list as 3,7; at most {MAX_RUNS} in all")
    return tuple(range(low, high + 1))
