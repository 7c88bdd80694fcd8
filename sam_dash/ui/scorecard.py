"""The claim scorecard: the table of verdicts, and a card a claim with its rule and a link to its plot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sam_dash.results import words
from sam_dash.results.claims import claim as claims
from sam_dash.results.claims import rule
from sam_dash.results.claims.claim import Verdict
from sam_dash.results.claims.rule import OPEN, REFUTED, SUPPORTED, UNTESTED
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.ui import figure, markdown, states, table

LOOK: dict[str, tuple[str, states.Colour]] = {
    SUPPORTED: (":material/check_circle:", "green"),
    REFUTED: (":material/cancel:", "red"),
    OPEN: (":material/help:", "gray"),
    UNTESTED: (":material/remove:", "gray"),
}
PANELS = {"sharpness": "panels", "rw_sam": "rw_panels"}


def overview(found: list[Verdict], caption: str, study: Study) -> None:
    """All verdicts at a glance, how many of each, and what they rest on."""
    with st.container(horizontal=True, gap="small"):
        for verdict, (icon, colour) in LOOK.items():
            n = sum(v.verdict == verdict for v in found)
            if n:
                st.badge(f"{n} {verdict}", icon=icon, color=colour)
    table.show(
        claims.table(found), claims.alt(found), height="content",
        column_config={
            "Claim": st.column_config.TextColumn(width=290),
            "Verdict": st.column_config.TextColumn(width=125),
            "Effect": st.column_config.TextColumn(width=210),
            "Interval": st.column_config.TextColumn(help="95 %, over seeds; widened where a λ was chosen", width=170),
            "Seeds": st.column_config.NumberColumn(width=60),
        },
    )  # fmt: skip
    st.caption(markdown.unlinked(caption))
    with st.container(horizontal=True):
        numbers = claims.numbers(found)
        st.download_button(
            "CSV", figure.csv(numbers), f"claims-{study.id[:6]}.csv", "text/csv", key="csv_claims", on_click="ignore",
            icon=":material/download:", help="Verdicts, effects, intervals and rules with all digits",
        )  # fmt: skip


def plain(found: pd.DataFrame) -> None:
    """A card a row of Claim, Source, Verdict, These runs, Rule, two side by side."""
    rows = tables.records(found)
    for row, card in zip(rows, _in_pairs(len(rows)), strict=True):
        with card:
            st.markdown(f"**{row['Claim']}** ({row['Source']})")
            badge(row["Verdict"])
            st.markdown(markdown.unlinked(row["These runs"]))
            st.caption(f"Rule: {row['Rule']}")


def cards(found: list[Verdict], study: Study, rho: float | None) -> None:
    """One card a claim: verdict, effect, rule, link."""
    for verdict, card in zip(found, _in_pairs(len(found)), strict=True):
        with card:
            _card(verdict, study, rho)


def badge(verdict: str) -> None:
    """A verdict, by colour and symbol."""
    icon, colour = LOOK[verdict]
    st.badge(verdict, icon=icon, color=colour)


def _in_pairs(n: int) -> Iterator[DeltaGenerator]:
    """So many cards, two side by side, equally high."""
    for k in range(n):
        if k % 2 == 0:
            columns = st.columns(2, gap="medium")
        yield columns[k % 2].container(border=True, height="stretch")


def _card(v: Verdict, study: Study, rho: float | None) -> None:
    st.markdown(f"**{v.claim.says}**")
    badge(v.verdict)
    if v.effect.n > 1:
        st.markdown(f"**{claims.effect(v)}** [{claims.interval(v)}], n = {v.effect.n} seeds. {v.why}")
        st.markdown(f"Two-sided {v.ruling.says}.")
    else:
        st.markdown(v.why)
    st.caption(f"Rule: {v.claim.rule} {rule.DECIDES}")
    query: dict[str, Any] = {"study": study.id, PANELS[v.claim.page]: [words.quantity(q).name for q in v.claim.panels]}
    if rho is not None:
        query["at_rho"] = f"{rho:g}"
    st.page_link(
        f"pages/{v.claim.page}.py", label="See the plot", icon=":material/stacked_line_chart:", query_params=query
    )
