"""The form of the Run page: every field of a sweep, filled from a preset, every one in the URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from sam_dash import variants
from sam_dash.maths.contract import Knob
from sam_dash.problems.architecture import FAMILIES
from sam_dash.problems.datasets import DATASETS, describe
from sam_dash.problems.problem import STARTS
from sam_dash.runs import cost, presets
from sam_dash.runs.spec import MEASURES, OPTIMISERS, SCHEDULES, SpecError, SweepSpec, divisors
from sam_dash.ui import fields, upload

BOUND: dict[str, Any] = {"bind": "query-params"}


def values_of(sweep: SweepSpec) -> dict[str, Any]:
    """What the form shows for a sweep, by the key of its widget."""
    p, t = sweep.problem, sweep.training
    plain = {k: getattr(p, k) for k in fields.PROBLEM} | {"network": ", ".join(q.network for q in sweep.problems)}
    plain |= {k: getattr(t, k) for k in ("optimiser", "lr", "momentum", "nesterov", "weight_decay")}
    plain |= {"schedule": t.schedule, "batch": t.batch, "epochs": t.epochs, "every": sweep.measures.every}
    titles = [variants.get(k).title for k in sweep.variants]
    plain |= {"variants": titles, "m": list(sweep.m), "seeds": fields.seeds_text(sweep.seeds)}
    plain |= {"measures": list(sweep.measures.what)}
    return plain | {n: _shown(k, fields.knob_default(n, k, sweep)) for n, k in _all_knobs().items()}


def _all_knobs() -> dict[str, Knob]:
    return fields.knobs_of(list(variants.REGISTRY))


def _shown(knob: Knob, values: tuple[Any, ...]) -> Any:
    return list(values) if knob.choices or knob.kind is bool else ", ".join(f"{v:g}" for v in values)


def _refill() -> None:
    st.session_state.update(values_of(presets.get(st.session_state["preset"]).sweep))


def sweep() -> SweepSpec:
    """Show the form and return the sweep it describes; SpecError if that cannot be run."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Preset", list(presets.PRESETS), key="preset", on_change=_refill, width=240, **BOUND,
            help="Fills every field below; change what you like.",
        )  # fmt: skip
        preset = presets.get(name or "digits")
        default = values_of(preset.sweep)
        seeds = st.text_input(
            "Seeds", default["seeds"], key="seeds", width=130, **BOUND,
            help="A number (3: seeds 0, 1, 2), a range (100-104) or a list. Methods are compared seed by seed.",
        )  # fmt: skip
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
        got |= _problem(default)
    with measures:
        got |= _measures(default)
    return fields.sweep(got, preset.sweep)


def _methods(default: dict[str, Any], batch: int) -> dict[str, Any]:
    keys = {v.title: k for k, v in variants.REGISTRY.items()}
    chosen = st.multiselect(
        "Variants", list(keys), default["variants"], key="variants", **BOUND,
        help="SAM and USAM are swept over m; the others run once, at m = B.",
    )  # fmt: skip
    got: dict[str, Any] = {"variants": [keys[t] for t in chosen if t in keys]}
    got["m"] = _sizes(default["m"], int(batch)) if any(variants.get(k).m_axis for k in got["variants"]) else []
    knobs = fields.knobs_of(got["variants"])
    with st.container(horizontal=True):
        for name, knob in knobs.items():
            got[name] = _knob(name, knob, default[name], [v for v in got["variants"] if name in variants.get(v).knobs])
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
    text = f"{knob.help[0].upper()}{knob.help[1:]}. For {', '.join(variants.get(u).title for u in users)}."
    if knob.choices or knob.kind is bool:
        options = list(knob.choices) or [True, False]
        label = f"{knob.symbol[0].upper()}{knob.symbol[1:]}"
        return st.pills(label, options, selection_mode="multi", default=default, key=name, help=text, **BOUND)
    label = f"{knob.symbol}: one or more"
    return st.text_input(label, default, key=name, width=170, help=f"{text} Separate values by commas.", **BOUND)


def _problem(default: dict[str, Any]) -> dict[str, Any]:
    mine = upload.known()
    options = [*DATASETS, *mine]
    a, b = st.columns(2)
    got = {
        "dataset": a.selectbox("Data set", options, options.index(default["dataset"]), key="dataset", **BOUND),
        "network": b.text_input(
            "Network: one or more", default["network"], key="network", **BOUND,
            help=f"{_lines(FAMILIES)}\n\nSeveral, separated by commas: every run with each.",
        ),
    }  # fmt: skip
    a.caption(_about(got["dataset"]))
    b.caption("`mlp:64`, `mlp:300-100`, `cnn:12`, `resnet18:16`. No BatchNorm: its statistics depend on m.")
    a, b, c, d = st.columns(4)
    got |= {
        "label_noise": a.number_input(
            "Label noise", 0.0, 0.95, default["label_noise"], 0.1, key="label_noise", **BOUND,
            help="Share of training labels replaced by a wrong one, drawn per seed.",
        ),
        "n_train": b.number_input(
            "Training samples", 0, 10**7, default["n_train"], 500, key="n_train", **BOUND, help="The first n; 0: all.",
        ),
        "start": c.selectbox(
            "Start", STARTS, STARTS.index(default["start"]), key="start", **BOUND,
            help="init: from initialisation. memorised: SGD first fits data half of which is mislabelled. "
            "pretrained: SGD first learns the first half of the classes; the run is on the others.",
        ),
        "imbalance": d.number_input(
            "Imbalance", 1.0, 10_000.0, default["imbalance"], 1.0, "%g", key="imbalance", **BOUND,
            help="Long tail: so many times more samples of the first class than of the last, exponentially. 1: none.",
        ),
    }  # fmt: skip
    upload.show()
    return got


def _training(default: dict[str, Any]) -> dict[str, Any]:
    number: Callable[..., Any] = st.number_input
    got: dict[str, Any] = {}
    a, b, c, d = st.columns(4)
    with a:
        got["batch"] = number("Batch size B", 1, 4096, default["batch"], key="batch", **BOUND)
        got["epochs"] = number("Epochs", 1, 10_000, default["epochs"], key="epochs", **BOUND)
    with b:
        index = OPTIMISERS.index(default["optimiser"])
        got["optimiser"] = st.selectbox("Base optimiser", OPTIMISERS, index, key="optimiser", **BOUND)
        got["lr"] = number("Learning rate", 1e-8, 100.0, default["lr"], 0.01, "%g", key="lr", **BOUND)
    with c:
        index = SCHEDULES.index(default["schedule"])
        got["schedule"] = st.selectbox("Schedule", SCHEDULES, index, key="schedule", **BOUND)
        got["momentum"] = number("Momentum", 0.0, 0.9999, default["momentum"], 0.1, "%g", key="momentum", **BOUND)
    with d:
        help_ = "Applied by the base optimiser, at w; never inside the perturbation."
        got["weight_decay"] = number(
            "Weight decay", 0.0, 10.0, default["weight_decay"], 1e-4, "%g", key="weight_decay", help=help_, **BOUND
        )
        got["nesterov"] = st.toggle("Nesterov", default["nesterov"], key="nesterov", **BOUND)
    return got


def _measures(default: dict[str, Any]) -> dict[str, Any]:
    got = {
        "measures": st.pills(
            "Besides losses and accuracies", MEASURES, selection_mode="multi", default=default["measures"],
            key="measures", help=_lines({k: m.about for k, m in cost.MEASURES.items()}), **BOUND,
        ),
        "every": st.number_input(
            "Measure every … epochs", 0, 10_000, default["every"], key="every", width=200, **BOUND,
            help="0: only at the end, as PyHessian and the density always are. The cost below counts it.",
        ),
    }  # fmt: skip
    return got | {"measures": list(got["measures"] or [])}


def _lines(about: dict[str, str]) -> str:
    return "\n".join(f"- **{k}**: {text}" for k, text in about.items())


def _about(dataset: str) -> str:
    try:
        d = describe(dataset)
    except ValueError as error:
        raise SpecError(str(error)) from None
    where = "" if d.offline else " Downloaded once, then kept."
    return f"{d.title}: {d.n_train} training and {d.n_test} test samples, {d.classes} classes.{where}"
