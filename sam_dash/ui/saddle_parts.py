"""The controls of the page Saddles, and the process that answers them. Every control has a key and is in the URL."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from sam_dash.maths.contract import Knob
from sam_dash.problems.landscapes import LANDSCAPES, NETWORK_SAMPLES
from sam_dash.problems.problem import SpecError
from sam_dash.results import words
from sam_dash.results.views import escapes
from sam_dash.runs import grammar
from sam_dash.runs.calculator import Calculator
from sam_dash.runs.saddles import Escape, Walk, choices, read, to_dict

LISTS = {
    "shares": Knob("ρ / ρ_c", "radii, as shares of the critical one", 0, 20),
    "batches": Knob("batch sizes", f"divisors of the {NETWORK_SAMPLES} samples", 1, NETWORK_SAMPLES, int),
    "momenta": Knob("momentum", "of the base optimiser", 0, 0.99),
}
KINDS = {"On a landscape": "walk", "In a network": "escape"}


@st.cache_resource(show_spinner=False, validate=lambda c: bool(c.alive), on_release=lambda c: c.close())
def _calculator() -> Calculator:
    return Calculator()


@st.cache_data(max_entries=64, show_spinner=False)
def _answer(request: str) -> dict[str, Any]:
    return _calculator().ask(read(json.loads(request)))


def answer(spec: Walk | Escape) -> dict[str, Any]:
    """The answer, computed once; the page says why and ends here where there is none."""
    try:
        with st.spinner("Running the variants…", show_time=True):
            return _answer(json.dumps(to_dict(spec)))
    except (RuntimeError, OSError) as error:
        st.error(str(error), icon=":material/error:")
        st.stop()


def kind() -> str:
    """Which of the two: a value of `KINDS`."""
    chosen = st.segmented_control("Saddle", list(KINDS), default="On a landscape", required=True, key="saddle_of",
                                  bind="query-params")  # fmt: skip
    return KINDS[chosen or "On a landscape"]


def walk() -> Walk:
    """The trajectories asked for."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        titles = {land.title: key for key, land in LANDSCAPES.items()}
        title = st.segmented_control("Loss", list(titles), default=next(iter(titles)), required=True, key="land",
                                     bind="query-params")  # fmt: skip
        key = titles[title or next(iter(titles))]
        land = LANDSCAPES[key]
        chosen = _variants("walkers")
        rho = _number("ρ", "walk_rho", 0.6, 0.0, 10.0, 0.1, "Of all variants that have one.")
        lr = _number("Learning rate", f"walk_lr_{key}", land.lr, 1e-6, 1.0, 0.001)
        momentum = _number("Momentum", "walk_momentum", 0.0, 0.0, 0.99, 0.1)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        left, right, low, high = land.window
        x = _number("Start w₁", f"walk_x_{key}", land.start[0], left, right, 0.1)
        y = _number("Start w₂", f"walk_y_{key}", land.start[1], low, high, 0.1)
        sigma = _number("Gradient noise σ", "walk_sigma", 0.0, 0.0, 100.0, 0.1, "Standard deviation, each coordinate.")
        alike = "Of the noise: without any, all seeds are alike."
        seeds = st.slider("Seeds", 1, 20, 5, key="walk_seeds", bind="query-params", width=150, help=alike)
        steps = st.slider("Steps", 50, 2000, 300, 50, key="walk_steps", bind="query-params", width=220)
    return _checked(Walk, landscape=key, variants=chosen, rho=rho, lr=lr, momentum=momentum, x=x, y=y, sigma=sigma,
                    seeds=seeds, steps=steps)  # fmt: skip


def escape() -> dict[str, Any]:
    """The answer for the network at the settings chosen: the bundled one at the usual ones, else when asked for."""
    usual = Escape()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = _variants("escapers")
        keys = {"shares": "escape_rho", "batches": "escape_batch", "momenta": "escape_momentum"}
        texts = {name: _text(LISTS[name], key, getattr(usual, name)) for name, key in keys.items()}
        lr = _number("Learning rate", "escape_lr", usual.lr, 1e-6, 1.0, 0.01)
        seeds = st.slider("Seeds", 2, 100, usual.seeds, key="escape_seeds", bind="query-params", width=150)
        steps = st.slider("Steps", 50, 2000, usual.steps, 50, key="escape_steps", bind="query-params", width=150)
    try:
        numbers = {name: grammar.values(knob.symbol, knob, texts[name]) for name, knob in LISTS.items()}
    except SpecError as error:
        _stop(error)
    spec = _checked(Escape, variants=chosen, lr=lr, seeds=seeds, steps=steps, **numbers)
    if spec == usual and escapes.BUNDLED.is_file():
        st.caption(":material/inventory_2: The result that ships with the project; change a control to run your own.")
        return escapes.bundled()
    asked = st.session_state.setdefault("escapes_asked", set())
    if spec not in asked:
        with st.container(border=True):
            st.markdown(":material/play_circle: **Not run yet at these settings.** Every cell takes some seconds.")
            if not st.button("Run", type="primary", key="escape_run"):
                st.stop()
        asked.add(spec)
    return answer(spec)


def _checked(cls: Any, **values: Any) -> Any:
    try:
        return cls(**values)
    except SpecError as error:
        _stop(error)


def _stop(error: SpecError) -> None:
    st.error(str(error), icon=":material/error:")
    st.stop()


def _variants(key: str) -> tuple[str, ...]:
    titles = {words.title(k): k for k in choices()}
    usual = [words.title(k) for k in Walk().variants]
    chosen = st.multiselect("Variants", list(titles), default=usual, key=key, bind="query-params", max_selections=6,
                            placeholder="Choose a variant", select_all=False)  # fmt: skip
    return tuple(titles[t] for t in chosen if t in titles)


def _number(label: str, key: str, value: float, low: float, high: float, step: float, help: str = "") -> float:
    numbers = (float(low), float(high), float(value), step)
    return float(
        st.number_input(label, *numbers, format="%g", key=key, bind="query-params", width=130, help=help or None)
    )


def _text(knob: Knob, key: str, values: tuple[float, ...]) -> str:
    usual = grammar.texts(values)
    label, help_ = map(grammar.sentence, (knob.symbol, knob.help))
    return st.text_input(label, usual, key=key, bind="query-params", width=200, help=f"{help_}.") or usual
