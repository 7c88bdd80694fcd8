"""What a page shows when there is nothing, or not everything, to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from sam_dash.results.drawing import captions
from sam_dash.results.numbers.study import Study
from sam_dash.ui import beside, pick

Colour = Literal["gray", "blue", "green", "orange", "red"]
ICONS = {
    "queued": ":material/schedule:",
    "running": ":material/play_arrow:",
    "done": ":material/check_circle:",
    "diverged": ":material/trending_up:",
    "failed": ":material/error:",
    "stopped": ":material/stop_circle:",
    "interrupted": ":material/pause_circle:",
}
COLOURS: dict[str, Colour] = {
    "queued": "gray",
    "running": "blue",
    "done": "green",
    "stopped": "gray",
    "interrupted": "orange",
}


def empty(what: str = "No study yet") -> None:
    """An invitation instead of an empty page."""
    with st.container(border=True):
        st.header(f":material/science: {what}", anchor=False)
        st.write(
            "A study is a sweep over variants, micro-batch sizes and seeds. The default preset takes about a minute."
        )
        st.page_link("pages/run.py", label="Start the first study", icon=":material/play_circle:")


def colour(status: str) -> Colour:
    """Red for what went wrong."""
    return COLOURS.get(status, "red")


def badges(counts: dict[str, int]) -> None:
    """Number of runs per status, each with icon and word."""
    with st.container(horizontal=True, gap="small"):
        for status, n in counts.items():
            st.badge(f"{n} {status}", icon=ICONS[status], color=colour(status))


def partial(study: Study, curves: bool = False) -> None:
    """A line above the figures while a study is incomplete: "18 of 24 runs finished; 2 failed". `curves`: of recorded
    runs those that go on, or were cut short, are drawn.
    """
    total, done = len(study.runs), study.counts.get("done", 0)
    if done in (0, total):  # with none finished the page has more to say than this line
        return
    others = captions.listed(f"{n} {s}" for s, n in study.counts.items() if s != "done")
    text = f"{done} of {total} runs finished; {others}. "
    if curves and study.recorded:
        st.info(text + "The curves show all of them, each as far as it got.", icon=":material/hourglass_top:")
    elif study.active:
        st.info(text + "The figures show what has finished so far.", icon=":material/hourglass_top:")
    else:
        st.warning(text + "The figures leave these out; the page Runs says why.", icon=":material/warning:")


def nothing_finished(study: Study) -> None:
    """Instead of a figure without points."""
    counts = captions.listed(f"{n} {s}" for s, n in study.counts.items())
    if study.active:
        st.info(f"No run of this study has finished yet ({counts}).", icon=":material/hourglass_top:")
    else:
        st.error(
            f"No run of this study finished ({counts}), so there is nothing to plot. Runs says why.",
            icon=":material/error:",
        )
    st.page_link(
        "pages/run.py" if study.active else "pages/runs.py", query_params={"study": study.id},
        label="Watch it" if study.active else "Open the runs", icon=":material/arrow_forward:",
    )  # fmt: skip


def with_results(without_a_study: Callable[[], None] = empty, curves: bool = False, several: bool = False) -> Study:
    """The study picked, with one network, if it has results; else the page says what is missing and ends here.

    `curves`: those of recorded runs that have not ended are results too. `several`: other studies, or all networks, may
    be chosen beside it.
    """
    study = pick.study()
    if study is None:
        without_a_study()
        st.stop()
    study = pick.one_network(study, several)
    partial(study, curves)
    if study.finals.empty and not (curves and study.recorded):
        nothing_finished(study)
        st.stop()
    return beside.wider(study) if several and not study.recorded else study
