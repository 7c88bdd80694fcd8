"""Run: a preset or any sweep, its cost, Start; then watch it and see the figure."""

import streamlit as st

from sam_dash.results import captions, figures, style, tables
from sam_dash.runs.spec import SpecError
from sam_dash.ui import backend, ended, figure, form, live, pick, router, start, states

router.ensure_routed()
NEXT = (("sharpness", "Sharpness over m"), ("rw_sam", "RW-SAM over λ"), ("claims", "Claims"), ("runs", "All runs"))
st.title("Run a study", anchor=False)
with st.container(border=True):
    try:
        start.button(form.sweep())
    except SpecError as error:
        st.error(f"{error}", icon=":material/rule:")
        start.disabled()

st.header("Progress", anchor=False)
study = pick.study(with_example=False)
if study is None:
    st.caption("Nothing has been started yet. Press Start: runs appear here while they train.")
    st.stop()
if study.active:
    live.view(backend.store(), study)
    st.stop()
with st.container(horizontal=True, vertical_alignment="center"):
    states.badges(study.counts)
    ended.resume(backend.store(), study)
states.partial(study)
ended.failures(backend.store(), study)
if study.finals.empty:
    states.nothing_finished(study)
    st.stop()
batch = study.spec.training.batch
axis = "lam" if len(study.spec.m) < 2 and len(study.values("lam")) > 1 else "m"
rho = min(study.values("rho"), default=None)
finals, runs = (tables.select(f, {"rho": rho}) if rho is not None else f for f in (study.finals, study.runs))
if axis == "lam":
    finals, runs = tables.at_full_batch(finals, batch), tables.at_full_batch(runs, batch)
else:
    finals, runs = tables.without_swept(finals, runs, "lam")
frame = tables.summary(finals, runs, style.SHARPNESS)
figure.show(
    figures.multiples(frame, axis, columns=figure.columns(5), batch=batch), frame,
    captions.caption(study, frame, axis), captions.alt(frame, axis, batch), f"study-{study.id[:6]}",
)  # fmt: skip
if len(study.values("rho")) > 1:
    st.caption("This is the smallest ρ of the study; the others are on the page Sharpness.")
with st.container(horizontal=True):
    for page, label in NEXT:
        st.page_link(f"pages/{page}.py", label=label, query_params={"study": study.id}, icon=":material/arrow_forward:")
