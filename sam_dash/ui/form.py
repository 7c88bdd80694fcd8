"""The form of the Run page: every field of a sweep, filled from a preset, every one in the URL."""

from __future__ import annotations

import contextlib
from typing import Any

import streamlit as st

from sam_dash import variants
from sam_dash.maths.contract import Knob
from sam_dash.problems.architecture import FAMILIES
from sam_dash.problems.card import FILE
from sam_dash.problems.datasets import DATASETS, describe
from sam_dash.problems.problem import reset
from sam_dash.runs import grammar, presets
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.spec import SpecError, SweepSpec, divisors
from sam_dash.ui import fields, markdown, upload

BOUND: dict[str, Any] = {"bind": "query-params"}
STEPS = {"n_train": 500, "label_noise": 0.1, "lr": 0.01, "momentum": 0.1, "weight_decay": 1e-4, "imbalance": 1.0}


def _refill() -> None:
    st.session_state.update(fields.values_of(presets.get(st.session_state["preset"]).sweep))
    st.session_state["_own_note"] = ""


def _spell_out() -> None:
    """A number of seeds becomes the seeds that it means."""
    if grammar.count(st.session_state["seeds"]):
        with contextlib.suppress(SpecError):  # said beside Start
            st.session_state["seeds"] = grammar.seeds_text(grammar.seeds(st.session_state["seeds"]))


def _dataset(default: str) -> str:
    """The data set that is chosen, also before its widget is there: by the link."""
    asked = str(st.session_state.get("dataset") or st.query_params.get("dataset") or default)
    return asked if asked in (*DATASETS, *upload.files(), *upload.known()) else default


def _tidy() -> None:
    """Take out of the URL what no widget can hold, before one sees it; and say so once."""
    asked = {k: v for k, v in st.query_params.to_dict().items() if k not in st.session_state}
    kept, wrong = fields.tidied(asked, (*DATASETS, *upload.files(), *upload.known()))
    if kept != asked:
        st.session_state["_link_note"] = wrong
        for name in asked:
            if name not in kept:
                del st.query_params[name]
            elif kept[name] != asked[name]:
                st.query_params[name] = kept[name]
        st.rerun()
    for text in st.session_state.pop("_link_note", []):
        note = f"Not taken from the link: {markdown.literal(text)}. The field has the preset's value."
        st.warning(note, icon=":material/link_off:")


def sweep() -> SweepSpec:
    """Show the form and return the sweep it describes; SpecError if that cannot be run."""
    _tidy()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Preset", list(presets.PRESETS), key="preset", on_change=_refill, width=240, **BOUND,
            help="Fills every field below; change what you like.",
        )  # fmt: skip
        preset = presets.get(name or presets.FIRST)
        base = preset.sweep
        dataset = _dataset(base.problem.dataset)
        wrong: SpecError | None = None
        if dataset.startswith(FILE):
            try:
                base = upload.start(dataset)
            except SpecError as error:  # said beside Start, below all other fields
                wrong = error
        default = fields.values_of(base)
        default |= reset(default["dataset"], dataset)
        seeds = st.text_input(
            "Seeds", default["seeds"], key="seeds", width=130, on_change=_spell_out, **BOUND,
            help="Values and ranges: 0-4, or 3, 7, 100-104; the seed 5 alone is 5-5. A number alone says how many: 5 "
            "becomes 0-4. Methods are compared seed by seed.",
        )  # fmt: skip
    if dataset.startswith(FILE):
        st.caption(
            f"**{markdown.literal(upload.title(dataset))}.** Your own file; its `defaults` have filled all fields."
        )
    else:
        st.caption(f"**{preset.title}.** {preset.about}")
    got: dict[str, Any] = {"seeds": seeds}
    methods, problem, training, measures = st.tabs(
        ["Methods", "Problem", "Training", "Measurements"], key="form_tab", bind="query-params"
    )
    with training:
        got |= _training(default)
    with methods:
        got |= _methods(default, got["batch"])
    with problem:
        got |= _problem(default, dataset)
    with measures:
        got |= _measures(default)
    if wrong is not None:
        raise wrong
    found = fields.sweep(got, base)
    said, *warnings = found.problem.notes() or [""]
    if said:
        st.caption(markdown.literal(said))
    for text in warnings:
        st.warning(markdown.literal(text), icon=":material/straighten:")
    return found


def _methods(default: dict[str, Any], batch: int) -> dict[str, Any]:
    titles = {v.title: k for k, v in variants.REGISTRY.items()}
    chosen = st.multiselect(
        "Variants", list(titles), default["variants"], key="variants", select_all=False, **BOUND,
        help="SAM and USAM are swept over m; the others run once, at m = B.",
    )  # fmt: skip
    keys = [titles[t] for t in chosen if t in titles]
    got: dict[str, Any] = {"variants": keys}
    got["m"] = _sizes(default["m"], int(batch)) if any(variants.get(k).m_axis for k in keys) else []
    with st.container(horizontal=True):
        for name, knob in fields.knobs_of(keys).items():
            got[name] = _knob(name, knob, default[name], [k for k in keys if name in variants.get(k).knobs])
    return got


def _sizes(default: list[int], batch: int) -> list[int]:
    """The micro-batch sizes chosen among the divisors of B."""
    sizes = divisors(batch)
    if "m" in st.session_state:  # after a change of B some sizes no longer divide it
        st.session_state["m"] = [m for m in st.session_state["m"] if m in sizes]
    chosen = st.pills(
        f"Micro-batch sizes m (divisors of B = {batch})",
        sizes,
        selection_mode="multi",
        key="m",
        default=[m for m in default if m in sizes] or sizes[:1],
        **BOUND,
        help="The perturbation is computed on micro-batches of m samples. m = B is plain SAM.",
    )
    return sorted(chosen or [], reverse=True)


def _knob(name: str, knob: Knob, default: Any, users: list[str]) -> Any:
    """One widget for one knob, from what the registry knows of it."""
    text = f"{grammar.sentence(knob.help)}. For {', '.join(variants.get(u).title for u in users)}."
    if fields.several(knob):
        options = list(knob.choices) or [True, False]
        return st.pills(
            grammar.sentence(knob.symbol),
            options,
            selection_mode="multi",
            default=default,
            key=name,
            help=text,
            **BOUND,
        )
    help_ = f"{text} Separate values by commas; “default”: of each variant its own."
    return st.text_input(f"{knob.symbol}: one or more", default, key=name, width=170, help=help_, **BOUND)


def _scalar(name: str, default: dict[str, Any]) -> Any:
    """One widget for one field of the specification, from what the field says of itself."""
    fact = fields.SCALARS[name]
    help_ = f"{grammar.sentence(fact.help)}." if fact.help else None
    if fact.choices:
        index = fact.choices.index(default[name])
        return st.selectbox(fact.symbol, fact.choices, index, key=name, help=help_, **BOUND)
    if fact.kind is bool:
        return st.toggle(fact.symbol, default[name], key=name, help=help_, **BOUND)
    low, high, step = fact.kind(fact.low), fact.kind(fact.high), STEPS.get(name, fact.kind(1))
    form = None if fact.kind is int else "%g"
    return st.number_input(fact.symbol, low, high, default[name], step, form, key=name, help=help_, **BOUND)


def _scalars(default: dict[str, Any], *columns: tuple[str, ...]) -> dict[str, Any]:
    got: dict[str, Any] = {}
    for column, names in zip(st.columns(len(columns)), columns, strict=True):
        with column:
            got |= {name: _scalar(name, default) for name in names}
    return got


def _problem(default: dict[str, Any], dataset: str) -> dict[str, Any]:
    options = [*DATASETS, *upload.files(), *upload.known()]
    a, b = st.columns(2)
    is_file = dataset.startswith(FILE)
    got = {
        "dataset": a.selectbox(
            "Data set", options, options.index(default["dataset"]), key="dataset", on_change=upload.chosen, **BOUND,
        ),
        "network": b.text_input(
            "Network: one or more", default["network"], key="network", disabled=is_file, **BOUND,
            help=f"{_lines(FAMILIES)}\n\nSeveral, separated by commas: every run with each.",
        ),
    }  # fmt: skip
    a.caption(_about(got["dataset"]))
    b.caption(
        "The file's own."
        if is_file
        else "`mlp:64`, `mlp:300-100`, `cnn:12`, `cnn:16-32`, `resnet18:16`, `vit:32`, `transformer:32`. No BatchNorm: "
        "its statistics depend on m."
    )
    upload.note(got["dataset"])
    got |= _scalars(default, ("label_noise",), ("n_train",), ("start",), ("imbalance",), ("scaling",))
    upload.show()
    return got


def _training(default: dict[str, Any]) -> dict[str, Any]:
    columns = ("batch", "epochs"), ("optimiser", "lr"), ("schedule", "momentum"), ("weight_decay", "nesterov")
    return _scalars(default, *columns)


def _measures(default: dict[str, Any]) -> dict[str, Any]:
    got: dict[str, Any] = {
        "measures": st.pills(
            "Besides losses and accuracies", tuple(MEASURES), selection_mode="multi", default=default["measures"],
            key="measures", help=_lines({k: m.about for k, m in MEASURES.items()}), **BOUND,
        ),
    }  # fmt: skip
    got["every"] = _scalar("every", default)
    return got | {"measures": list(got["measures"] or [])}


def _lines(about: dict[str, str]) -> str:
    return "\n".join(f"- **{k}**: {text}" for k, text in about.items())


def _about(dataset: str) -> str:
    if dataset.startswith(FILE):
        return f"Your own problem file, {markdown.literal(dataset.removeprefix(FILE))}."
    try:
        d = describe(dataset)
    except ValueError as error:
        raise SpecError(str(error)) from None
    where = f" From {d.source}; then kept." if d.source else ""
    what = f"{d.classes} classes" if d.classes else "numbers to predict"
    return f"{d.title}: {d.n_train} training and {d.n_test} test samples, {what}.{where}"
