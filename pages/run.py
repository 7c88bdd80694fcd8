"""Run: a preset or any sweep, its cost, Start; then watch it and see the figure."""

import streamlit as st

from sam_dash.runs.spec import SpecError
from sam_dash.ui import backend, ended, form, live, markdown, pick, router, start

router.ensure_routed()
st.title("Run a study", anchor=False)
with st.container(border=True):
    try:
        start.button(form.sweep())
    except SpecError as error:
        st.error(markdown.literal(error), icon=":material/rule:")
        start.disabled()

st.header("Progress", anchor=False)
study = pick.study(with_example=False)
if study is None:
    st.caption("Nothing has been started yet. Press Start: runs appear here while they train.")
elif study.active:
    live.view(backend.store(), study)
else:
    ended.view(backend.store(), study)
