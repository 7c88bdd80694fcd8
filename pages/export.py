"""Export: the results table, the whole study as a zip, and a zip of someone else's taken in."""

import streamlit as st

from sam_dash.results.numbers import statistics
from sam_dash.ui import controls, foreign_form, pick, router, states, take_away

router.ensure_routed()
st.title("Export a study", anchor=False)
st.markdown(
    "Everything of a study to keep, print and repeat. Single figures are beside each chart, under **Export**: PDF, SVG "
    "and PNG at the widths of journals."
)
study = pick.study()
if study is None:
    states.empty()
    take_away.bring()
    foreign_form.bring()
    st.stop()
states.partial(study)
st.header("The study as a zip, or as a report", anchor=False)
take_away.bundle(study)
if len(study.finals):
    take_away.report(study)
st.header("Results table", anchor=False)
if study.finals.empty:
    states.nothing_finished(study)
else:
    interval = controls.interval()
    st.caption(f"After ±: half of the {statistics.INTERVALS[interval]}, over seeds.")
    take_away.results(study, interval)
st.header("Take in a study", anchor=False)
take_away.bring()
foreign_form.bring()
