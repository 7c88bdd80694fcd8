"""Text to numbers, and a form's values to a SweepSpec. Pure: no widgets here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sam_dash import variants
from sam_dash.maths.contract import Knob
from sam_dash.runs.spec import Measures, Problem, SpecError, SweepSpec, Training

MAX_SEEDS = 1000
PROBLEM = ("dataset", "network", "n_train", "label_noise", "start", "imbalance")


def words(text: str) -> list[str]:
    """The pieces of a list separated by commas, semicolons or blanks."""
    return [w for w in re.split(r"[,;\s]+", text.strip()) if w]


def numbers(name: str, text: str, kind: type = float) -> tuple[Any, ...]:
    """For example "0.05, 0.1" -> (.05, .1); SpecError naming the piece that is no number."""
    out = []
    for word in words(text):
        try:
            out.append(kind(word))
        except ValueError:
            what = "whole numbers" if kind is int else "numbers"
            raise SpecError(f"{name} = {word!r}: expected {what} separated by commas, such as 0.05, 0.1") from None
    if not out:
        raise SpecError(f"{name} is empty: expected at least one value")
    return tuple(out)


def seeds(text: str) -> tuple[int, ...]:
    """ "3" is 0, 1, 2; "10-14" is 10 ... 14; "1, 5, 9" is a list."""
    text = text.strip()
    if re.fullmatch(r"\d+", text):
        first, last = 0, int(text) - 1
    elif found := re.fullmatch(r"(\d+)\s*[-–]\s*(\d+)", text):
        first, last = int(found[1]), int(found[2])
    else:
        return numbers("seeds", text, int)
    if not 0 <= last - first < MAX_SEEDS:
        raise SpecError(f"seeds = {text!r}: expected 1 to {MAX_SEEDS} seeds, as a number (3) or a range (10-14)")
    return tuple(range(first, last + 1))


def seeds_text(values: tuple[int, ...]) -> str:
    """The shortest text that `seeds` reads as these."""
    if values == tuple(range(len(values))):
        return str(len(values))
    if values == tuple(range(values[0], values[0] + len(values))) and len(values) > 2:
        return f"{values[0]}-{values[-1]}"
    return ", ".join(map(str, values))


def knobs_of(keys: list[str]) -> dict[str, Knob]:
    """The knobs of these variants, each once."""
    return {n: k for key in keys if key in variants.REGISTRY for n, k in variants.REGISTRY[key].knobs.items()}


def knob_default(name: str, knob: Knob, sweep: SweepSpec) -> tuple[Any, ...]:
    """What a sweep has for a knob: its values, or the knob's default."""
    return tuple(sweep.knobs.get(name, (knob.default,)))


def knob_values(name: str, knob: Knob, given: Any) -> tuple[Any, ...]:
    """A widget's value (text, or a list of choices) as checked knob values."""
    raw = numbers(knob.symbol, given, knob.kind) if isinstance(given, str) else tuple(given)
    if not raw:
        raise SpecError(f"{knob.symbol}: choose at least one value")
    try:
        return tuple(knob.check(name, value) for value in raw)
    except ValueError as error:
        raise SpecError(str(error)) from None


def sweep(values: Mapping[str, Any], base: SweepSpec) -> SweepSpec:
    """The sweep that a form describes; SpecError with a clear message if it cannot be run.

    It keeps the name of `base`, the preset it was started from, only while problem and training are the preset's.
    """
    if not values["variants"]:
        raise SpecError("choose at least one variant")
    keys = list(values["variants"])
    chosen = {n: knob_values(n, k, values[n]) for n, k in knobs_of(keys).items()}
    swept = any(variants.REGISTRY[k].m_axis for k in keys if k in variants.REGISTRY)
    if swept and not values["m"]:
        raise SpecError("choose at least one micro-batch size m")
    networks = words(values["network"]) or [""]
    problem = Problem(**{k: values[k] for k in PROBLEM} | {"network": networks[0]})
    train = ("optimiser", "lr", "momentum", "nesterov", "weight_decay", "schedule", "batch", "epochs")
    training = Training(**{k: values[k] for k in train})
    measures = Measures(what=tuple(values["measures"]), every=values["every"])
    several = tuple(networks) if len(networks) > 1 else ()
    same = (problem, training, several) == (base.problem, base.training, base.networks)
    return SweepSpec(
        preset=base.preset if same else "", variants=tuple(keys), m=tuple(values["m"]) if swept else (),
        knobs={n: v for n, v in chosen.items() if n in base.knobs or v != (knobs_of(keys)[n].default,)},
        seeds=seeds(values["seeds"]), problem=problem, training=training, measures=measures, networks=several,
    )  # fmt: skip
