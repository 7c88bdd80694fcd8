"""Runs: every run of a study; one in detail, two compared; hide, delete, notes."""

import streamlit as st

from sam_dash.runs import labels, marks
from sam_dash.ui import backend, compare, detail, finder, health, manage, pick, router, runs_table, states

router.ensure_routed()
st.title("Runs", anchor=False)
health.line(backend.store())
study = pick.study(with_hidden=True)
if study is None:
    states.empty("No runs yet")
    st.stop()
store = backend.store()
if study.id != pick.EXAMPLE:
    sweep = labels.of(store, "study").get(study.id, labels.Label())
    finder.name("study", study.id, sweep, lambda label: labels.put(store, "study", {study.id: label}))
finder.show(store)
finder.wrong()
notes, hidden = marks.notes(store), marks.hidden(store)
states.badges(study.counts)
called = labels.of(store, "run") if study.id != pick.EXAMPLE else {}
wide = runs_table.wide(study, notes, hidden & set(study.runs["run"]), called)
chosen = runs_table.show(runs_table.filters(wide), wide)
runs_table.downloads(study)
if not chosen:
    st.stop()
if study.id != pick.EXAMPLE:
    manage.bar(store, chosen, hidden, called)
reference = compare.pinned(study)
compare.pin(chosen, reference)
together = list(dict.fromkeys([*([reference] if reference else []), *chosen]))
if len(together) > 1:
    compare.show(study, together, called, bool(reference))
elif study.id == pick.EXAMPLE:
    detail.example(study, chosen[0])
else:
    detail.show(store, chosen[0], called.get(chosen[0], labels.Label()).name)
