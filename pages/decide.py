"""Decide: should SAM be used on this problem? The race of its settings against those of the base optimiser."""

import streamlit as st

from sam_dash.ui import decision_parts, router

router.ensure_routed()
st.title("Should I use SAM here?", anchor=False)
decision_parts.page()
with st.expander("What this page does not show", icon=":material/help:"):
    st.markdown(
        "- **Other data.** The answer is of this problem, its network and its test set, which choice and answer share; "
        "fresh seeds do not cure that.\n"
        "- **What was not tried.** SAM beyond the grid: the answer says where its best lies at an edge.\n"
        "- **A rare collapse.** None in 20 seeds excludes no more than 14 %."
    )
