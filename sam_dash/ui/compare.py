"""Selected runs side by side, two to eight: curves, what differs, final values; a pinned one is the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import compare, run_curves
from sam_dash.results.views.dynamics import has_curve
from sam_dash.runs.labels import Label
from sam_dash.ui import backend, choices, markdown, pick, states, table, trajectory
from sam_dash.ui import show as shows

MOST = len(compare.LETTERS)
PINNED, PARAMETER = "_pinned", "reference"


def pinned(study: Study) -> str | None:
    """The run that is pinned as the reference, in the link or on a page before, if it can be compared with these."""
    key = st.query_params.get(PARAMETER) or st.session_state.get(PINNED)
    here = key in set(study.runs["run"])
    if not key or not (here or (study.id != pick.EXAMPLE and backend.store().statuses([key]))):
        st.query_params.pop(PARAMETER, None)
        return None
    st.session_state[PINNED] = st.query_params[PARAMETER] = key
    return str(key)


def _pin(key: str | None) -> None:
    st.session_state.pop(PINNED, None)
    st.query_params.pop(PARAMETER, None)
    if key:
        st.session_state[PINNED] = st.query_params[PARAMETER] = key


def pin(keys: Sequence[str], reference: str | None) -> None:
    """The button that pins the run selected, and that which lets go of the one that is pinned."""
    if len(keys) == 1 and keys[0] != reference:
        st.button(
            "Pin as reference", key="pin", icon=":material/keep:", on_click=_pin, args=(keys[0],),
            help="Whatever is selected next is compared with this run, in other studies too.",
        )  # fmt: skip
    if reference:
        st.button("Unpin the reference", key="unpin", icon=":material/keep_off:", on_click=_pin, args=(None,))


def show(study: Study, keys: Sequence[str], called: Mapping[str, Label], is_pinned: bool) -> None:
    """The first eight of the runs; the first is the reference."""
    found = {key: run for key in keys[:MOST] if (run := _run(study, key, called))}
    if len(found) < len(keys[:MOST]):
        st.warning("Some of these runs have been deleted from the store.", icon=":material/link_off:")
    runs = compare.named_apart(list(found.values()))
    if len(runs) < 2:
        return
    st.header("Two runs compared" if len(runs) == 2 else f"{len(runs)} runs compared", anchor=False)
    if len(runs) == 2:
        for column, (letter, run) in zip(st.columns(2), zip("AB", runs, strict=True), strict=True):
            column.markdown(f"**{letter}**: {markdown.literal(run.name)}")
            column.badge(run.status, icon=states.ICONS[run.status], color=states.colour(run.status))
    one, two = runs[0].spec, runs[1].spec
    text = compare.sentence(one, two) if len(runs) == 2 else compare.of_several(runs)
    st.markdown(markdown.unlinked(text + f" A is the reference{', pinned' * is_pinned}."))
    if len(keys) > MOST:
        st.caption(f"{len(keys)} runs are selected; these are the first {MOST}.")
    quantities = _quantities(runs)
    if len(runs) > 2:
        table.show(compare.finals(runs, quantities), "The runs and the last values that they measured")
    curves = partial(trajectory.of_runs, study, [run.key for run in runs])
    if drawn := [q for q in quantities if has_curve(q)]:
        shows.view(run_curves.VIEW, run_curves.Compared(runs, curves, drawn))
    if len(runs) > 2:
        _paired(runs, quantities)
        _settings(runs)
        return
    left, right = st.columns(2, gap="large")
    with left:
        _settings(runs)
    with right:
        st.markdown("**Outcome at the last step**")
        outcome = compare.outcomes(runs[0].last, runs[1].last)
        table.show(outcome, "Final values of the two runs and their difference", by="Quantity")
        early = [f"{letter} is {r.status}" for letter, r in zip("AB", runs, strict=True) if r.status != "done"]
        if early:
            st.caption(f"{' and '.join(early)}: its values are those of the last step that it measured.")


def _quantities(runs: Sequence[compare.Run]) -> list[str]:
    """Which quantities are drawn and compared."""
    found = {str(q) for run in runs for q in run.last["quantity"]}
    usual = [q for q in words.all_scored(words.SHARPNESS, found) if q in found]
    usual = sorted(usual, key=lambda q: not words.is_score(q))
    have = list(dict.fromkeys([*usual, *(q for q in words.QUANTITIES if q in found), *sorted(found)]))
    options = dict(zip(choices.names(have), have, strict=True))
    chosen = st.multiselect(
        "Quantities", list(options), default=list(options)[: len(usual)], key="compared", bind="query-params",
        select_all=False, placeholder="Choose a quantity", help="A panel and a column each.",
    )  # fmt: skip
    return [options[name] for name in chosen if name in options]


def _settings(runs: Sequence[compare.Run]) -> None:
    st.markdown("**Settings**")
    only = st.toggle("Only what differs", True, key="only_different", bind="query-params")
    frame = compare.settings([run.spec for run in runs], only)
    differing = ", ".join(frame.loc[frame["Differs"], "Setting"]) or "nothing"
    which = "two runs" if len(runs) == 2 else "runs"
    shown = frame.drop(columns="Differs") if only else frame
    table.show(shown, f"Settings of the {which}; they differ in {differing}")
    if frame.empty:
        st.caption("The specifications are the same.")


def _paired(runs: Sequence[compare.Run], quantities: Sequence[str]) -> None:
    frame = compare.paired(runs, quantities)
    if frame.empty:
        return
    st.markdown("**Settings compared with that of A**")
    table.show(frame, "Differences from the reference, paired by seed", by="Quantity")
    st.caption(
        "Differences within each seed that both settings have among these runs: mean and 95 % t-interval; one that "
        "holds 0 is a tie. Finished runs only. Each interval is for itself: of many comparisons one in twenty "
        "would leave out 0 by chance."
    )


def _run(study: Study, key: str, called: Mapping[str, Label]) -> compare.Run | None:
    if study.id == pick.EXAMPLE:
        spec = next(r for r in study.spec.runs() if r.key == key).to_dict()
        frame = studies.read_curves(studies.EXAMPLE)
        frame = frame[(frame["run"] == key) & ~frame["quantity"].isin(words.RECORDED)]
        last: pd.DataFrame = frame[frame["step"] == frame["step"].max()]
        return compare.Run(key, spec, "done", "", last)
    run = backend.store().run(key)
    if run is None:
        return None
    last = tables.curves_frame(backend.store().measurements(keys=[key], final=True))
    name = called.get(key, Label()).name or run["spec"].get("name", "")
    return compare.Run(key, run["spec"], run["status"], name, last)
