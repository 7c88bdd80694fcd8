"""Show a view: its figure with caption, data and files, its sentences; or what was not measured, and how to get it."""

from __future__ import annotations

from typing import TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sam_dash.results.drawing import captions
from sam_dash.results.drawing.cells import Looks
from sam_dash.results.numbers import collapse, tables
from sam_dash.results.views.view import Selection, View
from sam_dash.runs.spec import SpecError
from sam_dash.ui import figure, links, markdown
from sam_dash.ui.frame import columns

At = TypeVar("At")
SAYS = "What these runs say"


def lead() -> DeltaGenerator:
    """The place of a page's first sentence, below its title: what its data say before how they were made."""
    return st.container()


def first(sentence: str, lead: DeltaGenerator) -> None:
    """Write a page's first sentence, if there is one; what it sets in bold itself is bold with the rest."""
    if sentence:
        lead.markdown(f"**{markdown.unlinked(sentence.replace('**', ''))}**")


def view(view: View[At], at: At, heading: str = "", lead: DeltaGenerator | None = None) -> bool:
    """Draw what was measured, with its sentences under a heading of their own if there is one; whether there was any.

    Where nothing was, say how to get it. `lead`: where the headline goes.
    """
    found = drawn(view, at, lead=lead)
    if found is None:
        try:
            lacking = view.missing(at)
        except SpecError as error:  # such a study would be too large
            st.info(f"This study lacks what is drawn here, and one that adds it: {error}.", icon=":material/info:")
            return False
        if lacking:
            links.missing(*lacking)
        return False
    if heading:
        st.header(heading, anchor=False)
        if isinstance(at, Selection):
            collapsed(at.runs, at.collapsed, at.look)
    st.markdown(listed(found) or view.silent)
    return True


def drawn(view: View[At], at: At, key: str = "", lead: DeltaGenerator | None = None) -> list[str] | None:
    """Draw what was measured; its sentences, None where nothing was.

    `key`: of its parameters in the URL, where it is not that of the view. `lead`: where the headline goes.
    """
    frame = view.frame(at)
    if frame.empty:
        return None
    found = view.findings(frame, at)
    if lead is not None:
        first(view.headline(frame, at, found), lead)
    shown = frame.drop(columns=list(view.drawn_with))
    fig, caption, alt = view.figure(frame, at, columns()), view.caption(frame, at), view.alt(frame, at, found)
    figure.show(fig, shown, caption, alt, view.name(at), key or view.key)
    return found


def listed(found: list[str]) -> str:
    """Sentences, a bullet each."""
    return "\n".join(f"- {markdown.unlinked(line)}" for line in found)


def collapsed(runs: pd.DataFrame, gone: set[str], look: Looks) -> None:
    """Name the collapsed settings, and the rule."""
    if not gone:
        return
    names = dict.fromkeys(look[r]["line"] for r in tables.records(runs[runs["run"].isin(gone)]))
    st.warning(f"Collapsed, and left out of the statements below: {captions.listed(names)}. {collapse.RULE}",
               icon=":material/trending_down:")  # fmt: skip
