"""Paper: the seed paper's tables and figures as recipes, its numbers beside ours, and a verdict on ours."""

import streamlit as st

from sam_dash.results.experiments import published
from sam_dash.results.experiments.paper import RECIPES
from sam_dash.runs import recipes
from sam_dash.ui import experiments, router, show, start, table

router.ensure_routed()
st.title("The paper, re-run", anchor=False)
lead = show.lead()
st.markdown(
    "Each table and figure of the paper that m-sharpness is from, as a recipe for small networks. Its **own numbers** "
    "are of other networks and data: they stand beside ours and take no part in a verdict."
)
chosen = experiments.choose(RECIPES, "Recipe", "recipe")
left, right = st.columns(2, gap="large")
with left:
    st.header("What the paper says", anchor=False)
    st.markdown(chosen.claim)
    if chosen.numbers:
        table.show(chosen.said(), "The paper's own numbers")
    else:
        st.caption("Its numbers are not known to us.")
    st.markdown(f"{published.SOURCE}.")
with right:
    st.header("Run it", anchor=False)
    of = recipes.RECIPES[chosen.preset]
    st.caption(f"**{of.title}.** {of.about}")
    start.button(*of.sweeps, line=f"python -m sam_dash paper --only {chosen.name}")
    st.markdown(f"**At the paper's scale.** {chosen.at_scale}")
    st.markdown("All of them at once, as Markdown and HTML: `python -m sam_dash paper --scale here --out report.html`")

st.header("What the runs show", anchor=False)
experiments.result(chosen, lead)
