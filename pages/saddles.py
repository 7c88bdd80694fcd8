"""Saddles: which variants are caught by them, on landscapes of two weights and in a small network."""

import streamlit as st

from sam_dash.results import words
from sam_dash.results.claims import escape_claims
from sam_dash.results.views import escapes, walks
from sam_dash.ui import router, saddle_parts, scorecard, show, table

router.ensure_routed()
st.title("Saddles", anchor=False)
lead = show.lead()
st.markdown(
    "A perturbed step can be *pulled into* a saddle that SGD leaves. Near a saddle with Hessian eigenvalue λ, USAM "
    "multiplies that coordinate by **1 − η λ (1 + ρ λ)** at each step: where λ < 0 it shrinks, and the saddle attracts "
    "once **ρ > ρ_c = 1/|λ₁|** (Kim et al., arXiv:2301.06308). SAM normalises: its step jumps there, and the pull "
    "reaches as far as ρ for every ρ > 0."
)
if saddle_parts.kind() == "walk":
    spec = saddle_parts.walk()
    found = saddle_parts.answer(spec)
    critical = found["critical"]
    side = "above: USAM's saddle attracts" if spec.rho > critical else "below: USAM's saddle repels"
    show.first(f"Critical radius ρ_c = 1/|λ₁| = {words.number(critical)}; ρ = {spec.rho:g} is {side}.", lead)
    show.drawn(walks.VIEW, walks.Walked(found, spec))
    st.header("What one step does near the saddle", anchor=False)
    table.show(walks.step_table(found), "Factors of a step at the saddle, derived and measured")
    st.caption(
        "Factors: eigenvalues of the step's Jacobian at the saddle, by differentiating the variant itself, no "
        "momentum and noise; tests hold them to the formula above. Above 1 in modulus: repels. Measured: growth of the "
        "distance over ten steps from 10⁻⁴ away, up the unstable direction. A normalised step has no Jacobian there; "
        "read how far it is after 100 steps (∞: left to infinity)."
    )
else:
    answer = saddle_parts.escape()
    st.markdown(
        "A two-layer tanh network on a linear task starts a hair from its saddle at zero weights, as training from "
        f"small weights does. There λ₁ = −{words.number(1 / answer['critical'])}, "
        f"so **ρ_c = {words.number(answer['critical'])}**."
    )
    critical = words.number(answer["critical"])
    show.first(f"By the formula the saddle at zero weights attracts USAM's steps beyond ρ_c = {critical}.", lead)
    show.drawn(escapes.VIEW, answer)
    st.header("What the papers claim, and what these runs show", anchor=False)
    scorecard.plain(escape_claims.judge(escapes.runs(answer)))
    st.caption(escape_claims.NOTE)
