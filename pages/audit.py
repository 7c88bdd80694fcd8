"""Audit: which m a training loop has, and what else it does, as its report says."""

import streamlit as st

from sam_dash.ui import audit_parts, router

router.ensure_routed()
st.title("Which m am I training with?", anchor=False)
audit_parts.page()
with st.expander("What an audit cannot tell", icon=":material/help:"):
    st.markdown(
        "- **Transforms outside its list**: elementwise clipping, another η of ASAM, Fisher's. Such lines are amber, "
        "with the reason.\n"
        "- **What happens inside `vmap`**, and `fully_shard`.\n"
        "- **Other ranks than were watched.** What a loop on one process does on two."
    )
