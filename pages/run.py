"""Run: a preset or any sweep, its cost, Start; then the form folds, and its runs and their figure are on top."""

import streamlit as st

from sam_dash.runs.spec import SpecError
from sam_dash.ui import backend, ended, form, links, live, markdown, pick, router, start

router.ensure_routed()
row = st.container(horizontal=True, vertical_alignment="center")
row.title("Run a study", anchor=False, width="content")
study = pick.study(with_example=False, where=row) if "study" in st.query_params else None
if study is None:
    with st.container(border=True):
        try:
            start.button(form.sweep())
        except SpecError as error:
            st.error(markdown.literal(error), icon=":material/rule:")
            start.disabled()
    live.elsewhere(backend.store())
else:
    with row:
        links.run("Edit", study.spec, ":material/edit:")
    if study.active:
        live.view(backend.store(), study)
    else:
        ended.view(backend.store(), study)
