"""The form's values <-> a SweepSpec <-> a link's query, both ways. Pure: no widgets here.

A value is what a widget holds: a number, a truth value, a choice, a text, or a list of choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sam_dash import variants
from sam_dash.maths.contract import Knob
from sam_dash.problems.arrays import NPZ
from sam_dash.problems.card import FILE
from sam_dash.problems.problem import facts
from sam_dash.runs import grammar, presets
from sam_dash.runs.spec import Measures, Problem, SpecError, SweepSpec, Training

SCALARS: dict[str, Knob] = {**facts(Problem), **facts(Training), **facts(Measures)}  # one widget, one value


def several(knob: Knob) -> bool:
    """Whether a knob is shown as its choices, of which several are picked; a text otherwise."""
    return bool(knob.choices) or knob.kind is bool


def knobs_of(keys: list[str]) -> dict[str, Knob]:
    """The knobs of these variants, each once."""
    return {n: k for key in keys if key in variants.REGISTRY for n, k in variants.REGISTRY[key].knobs.items()}


def own_default(name: str) -> tuple[Any, ...]:
    """The default of a knob as a value of a sweep; () where variants differ in it."""
    found = dict.fromkeys(v.knobs[name].default for v in variants.REGISTRY.values() if name in v.knobs)
    return tuple(found) if len(found) == 1 else ()


def values_of(sweep: SweepSpec) -> dict[str, Any]:
    """What the form shows for a sweep, by the key of its widget."""
    parts = (sweep.problem, sweep.training, sweep.measures)
    out: dict[str, Any] = {name: getattr(part, name) for part in parts for name in facts(part)}
    out |= {"dataset": sweep.problem.dataset, "network": ", ".join(p.network for p in sweep.problems)}
    out |= {"variants": [variants.get(k).title for k in sweep.variants], "seeds": grammar.seeds_text(sweep.seeds)}
    out |= {"m": list(sweep.m) or [sweep.training.batch], "measures": list(sweep.measures.what)}
    for name, knob in knobs_of(list(variants.REGISTRY)).items():
        chosen = sweep.knobs.get(name, own_default(name))
        out[name] = list(chosen) if several(knob) else grammar.texts(chosen)
    return out


def sweep(values: Mapping[str, Any], base: SweepSpec) -> SweepSpec:
    """The sweep that a form describes; SpecError with a clear message if it cannot be run.

    `base` is the preset it was started from: its name is kept while problem and training are the preset's.
    """
    titles = {v.title: k for k, v in variants.REGISTRY.items()}
    keys = [titles.get(name, name) for name in values["variants"]]
    if not keys:
        raise SpecError("choose at least one variant")
    swept = any(variants.REGISTRY[k].m_axis for k in keys if k in variants.REGISTRY)
    if swept and not values["m"]:
        raise SpecError("choose at least one micro-batch size m")
    knobs = {n: _values(k, values[n]) for n, k in knobs_of(keys).items()}
    networks = grammar.words(values["network"])
    if not networks:
        raise SpecError("network is empty: expected one or more, such as mlp:64")
    problem = Problem(dataset=values["dataset"], network=networks[0], **{name: values[name] for name in facts(Problem)})
    found = SweepSpec(
        variants=tuple(keys), m=tuple(values["m"]) if swept else (), seeds=grammar.seeds(values["seeds"]),
        knobs={n: v for n, v in knobs.items() if v and (n in base.knobs or v != own_default(n))},
        problem=problem, training=Training(**{name: values[name] for name in facts(Training)}),
        measures=Measures(what=tuple(values["measures"]), every=values["every"]), networks=networks,
    )  # fmt: skip
    return presets.labelled(found, base)


def _values(knob: Knob, given: Any) -> tuple[Any, ...]:
    """A widget's value (text, or a list of choices) as checked knob values; () for every variant's own default."""
    if isinstance(given, str):
        return grammar.values(knob.symbol, knob, given)
    if not given:
        raise SpecError(f"{knob.symbol}: choose at least one of {grammar.texts(knob.choices or (True, False))}")
    try:
        return tuple(knob.check(knob.symbol, value) for value in given)
    except ValueError as error:
        raise SpecError(str(error)) from None


def query(sweep: SweepSpec) -> dict[str, str | list[str]]:
    """A link's query for a sweep: every field of the form, since the form keeps what a link does not name."""
    preset = sweep.preset if sweep.preset in presets.PRESETS else presets.FIRST
    shown = {"preset": preset, **values_of(sweep)}
    return {k: list(map(grammar.text, v)) or "" if isinstance(v, list) else grammar.text(v) for k, v in shown.items()}


def short(dataset: str) -> str:
    """The name of a data set as a copied link has it: of a file its name, without the folders of this machine."""
    kind = next((kind for kind in (NPZ, FILE) if dataset.startswith(kind)), None)
    return dataset if kind is None else kind + dataset.removeprefix(kind).replace("\\", "/").rpartition("/")[2]


def tidied(query: Mapping[str, str], datasets: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What of a query a widget may see, and what was wrong with the rest, in words; `datasets` are those there are.

    A file is known by its name alone; a number of seeds is spelled out: old links say "3" for 0-2.
    """
    kept, wrong = dict(query), []
    for name, knob in SCALARS.items():
        if query.get(name):
            try:
                grammar.value(name, knob, query[name])
            except SpecError as error:
                wrong.append(str(error))
                del kept[name]
    if full := {short(name): name for name in datasets}.get(query.get("dataset", "")):
        kept["dataset"] = full
    elif query.get("dataset", "") not in ("", *datasets):
        wrong.append(f"dataset = {grammar.short(kept.pop('dataset'))}: expected a built-in one, or an upload of yours")
    if grammar.count(kept.get("seeds", "")):
        try:
            kept["seeds"] = grammar.seeds_text(grammar.seeds(kept["seeds"]))
        except SpecError as error:
            wrong.append(str(error))
            del kept["seeds"]
    return kept, wrong
