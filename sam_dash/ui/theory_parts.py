"""The controls of the page Theory, and its answers, computed at once. Every control has a key and is in the URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from sam_dash.maths.contract import Knob
from sam_dash.maths.theory.setting import FORMS, PROBLEMS, WEIGHTS, N, Played, Setting, play
from sam_dash.results import words
from sam_dash.results.views import gradient_norms, regulariser, terms
from sam_dash.results.views.theory import Theory
from sam_dash.results.views.theory_moments import MEAN, MOMENTS
from sam_dash.results.views.view import Selection, View
from sam_dash.runs import grammar
from sam_dash.runs.spec import divisors
from sam_dash.ui import controls, show, states

ETAS = ("0.005", "0.01", "0.02", "0.05", "0.1", "0.2")
RHOS = ("0", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1")
BATCHES = (1, 2, 4, 8, 12, N)
PARTS = {"On a small problem": "problem", "On a study's runs": "runs"}
RUNS: dict[View[Selection], str] = {
    regulariser.VIEW: "What a step adds, and what is predicted",
    terms.VIEW: "The terms along training",
    gradient_norms.VIEW: "The norm that SAM's forms penalise",
}
SPECTRUM = Knob("Spectrum", "eigenvalues, one a weight; the largest is 1 and sets the unit of η and ρ", 1e-6, 1e6)


def part() -> str:
    """Which part of the page: a value of `PARTS`."""
    chosen = st.segmented_control("Theory", list(PARTS), default=next(iter(PARTS)), required=True, key="theory_part",
                                  bind="query-params")  # fmt: skip
    return PARTS[chosen or next(iter(PARTS))]


def runs() -> None:
    """The theory's terms on the weights of a study's runs."""
    study = states.with_results()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        at = replace(controls.selection(study), interval=controls.interval())
        if names := regulariser.names(at):
            at = at.but(setting=st.selectbox("Setting", names, key="theory_setting", bind="query-params", width=260))
    frame = regulariser.VIEW.frame(at)
    if len(frame):
        st.markdown(f"**{regulariser.VIEW.findings(frame, at)[0]}**")
    for view, heading in RUNS.items():
        st.header(heading, anchor=False)
        show.view(view, at)
    st.caption(
        "Not shown: that a term of the predicted size is why a run generalises as it does. A prediction that holds at "
        "small ρ says nothing of the ρ that runs are trained with. Where a network has kinks (ReLU), what a step over "
        "them adds is in no Hessian, so that the prediction is off at every ρ but the smallest."
    )


def setting() -> Setting:
    """What is asked; the page says what is wrong and ends here where it cannot be."""
    usual = Setting()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        problem = _named("Problem", PROBLEMS, usual.problem, "theory_problem")
        names = {key: words.title(key) for key in FORMS}
        variant = _named("Variant", names, usual.variant, "theory_variant")
        batch = int(_one("Batch size B", BATCHES, usual.batch, "theory_batch", f"Of {N} samples."))
        sizes = tuple(divisors(batch))
        m = int(_one("m", sizes, usual.m if usual.m in sizes else batch, "theory_m", "A divisor of B. Not of n-USAM."))
        told = "Without it, as data loaders draw, tr V gets the factor (n − m)/(n − 1)."
        again = st.toggle("With replacement", usual.replace, key="theory_replace", bind="query-params", help=told)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        eta = _slid("Step length η", ETAS, f"{usual.eta:g}", "theory_eta")
        rho = _slid("Radius ρ", RHOS, f"{usual.rho:g}", "theory_rho")
        steps = st.slider("Steps", 10, 120, usual.steps, 10, key="theory_steps", bind="query-params", width=180)
        noise = _number("Noise", 5.0, usual.noise, 0.5, "theory_noise", "Standard deviation of the targets’ errors.")
        numbers = grammar.texts(usual.spectrum)
        told = f"{WEIGHTS[0]} to {WEIGHTS[1]} {SPECTRUM.help}."
        text = st.text_input("Spectrum", numbers, key="theory_spectrum", bind="query-params", width=180, help=told,
                             disabled=problem == "two_weights")  # fmt: skip
        seed = int(_number("Seed", 1000, usual.seed, 1, "theory_seed", "Of the samples and of the random numbers."))
    try:
        spectrum = tuple(grammar.value(SPECTRUM.symbol, SPECTRUM, word) for word in grammar.words(text or numbers))
        return Setting(problem, variant, spectrum, noise, batch, m, again, float(eta), float(rho), int(steps), seed)
    except ValueError as error:
        st.error(str(error), icon=":material/error:")
        st.stop()


def theory() -> Theory:
    """The setting with its answer."""
    asked = setting()
    chosen = st.segmented_control("Moments", list(MOMENTS), default=MEAN, required=True, key="theory_moment",
                                  bind="query-params")  # fmt: skip
    return Theory(asked, _played(asked), chosen or MEAN)


def shown(view: View[Theory], at: Theory) -> list[str]:
    """Draw a view; its sentences below it, or why there is nothing to draw."""
    found = show.drawn(view, at)
    st.markdown(show.listed(found) if found else view.silent)
    return found or []


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs={Setting: repr})
def _played(asked: Setting) -> Played:
    return play(asked)


def _named(label: str, titles: Mapping[str, str], usual: str, key: str) -> str:
    """A key of titles."""
    chosen = st.segmented_control(label, list(titles.values()), default=titles[usual], required=True, key=key,
                                  bind="query-params")  # fmt: skip
    return next((k for k, title in titles.items() if title == chosen), usual)


def _one(label: str, options: tuple[int, ...], usual: int, key: str, told: str) -> int:
    return st.selectbox(label, options, options.index(usual), key=key, bind="query-params", width=110, help=told)


def _slid(label: str, options: tuple[str, ...], usual: str, key: str) -> str:
    return str(st.select_slider(label, options, usual, key=key, bind="query-params", width=220))


def _number(label: str, most: float, usual: float, step: float, key: str, told: str) -> float:
    numbers = (type(usual)(0), most, usual, step)
    return st.number_input(label, *numbers, format="%g", key=key, bind="query-params", width=110, help=told)
