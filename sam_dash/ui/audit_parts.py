"""The parts of the page Audit: which report, its headline, and a card for each of its lines."""

from __future__ import annotations

import time

import streamlit as st

from sam_dash.audit import kept
from sam_dash.audit.report import AMBER, GREEN, RED, Line, Report
from sam_dash.ui import markdown

HOW = (
    "`audit` watches one or more steps of *anybody's* SAM loop from outside, on one process or many, and says which "
    "samples shared a perturbation, how long it was, and what was descended. It runs your code, so it is started on "
    "the command line; each report is kept and shown here. One of another machine is a file: `--json > report.json`."
)
COMMAND = "torchrun --nproc-per-node 2 -m sam_dash audit train.py:audited --expect-m 16"
LIGHTS = {
    RED: (":material/error:", "red", "A fault, or not as expected"),
    AMBER: (":material/help:", "orange", "Unusual, or not to be told from outside"),
    GREEN: (":material/check_circle:", "green", "As it should be"),
}


def page() -> None:
    """The chosen report, or how to make one."""
    found = {_named(of): of for path in kept.files() if (of := kept.read(path)) is not None}
    if not found:
        st.info("No audit yet.", icon=":material/troubleshoot:")
    st.markdown(HOW)
    st.code(COMMAND, language=None, wrap_lines=True)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = None
        if found:
            name = st.selectbox("Report", list(found), key="audit", bind="query-params", width=420)
        file = st.file_uploader("A report of another machine", type="json", key="audit_file", width=420)
    if file is not None:
        _uploaded(file.name, file.getvalue())
    elif name is not None:
        shown(found[name].report)


def _named(of: kept.Kept) -> str:
    """Its loop, and when it was watched."""
    return f"{of.target} · {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(of.at))}"


def _uploaded(name: str, content: bytes) -> None:
    """Show a report that somebody sends, or say in one line why it is none."""
    try:
        report = Report.from_json(content)
    except ValueError as error:
        st.error(markdown.literal(f"{name}: {error}"), icon=":material/error:")
        return
    shown(report)


def shown(report: Report) -> None:
    """The headline, then a card for each light, what is wrong first."""
    st.markdown(f"**{markdown.literal(report.headline())}**")
    st.caption(f"Watched: {report.watched}.")
    for light, (icon, colour, about) in LIGHTS.items():
        lines = [line for line in report.lines if line.light == light]
        if lines:
            with st.container(border=True):
                st.markdown(f":{colour}[{icon}] **{about}**")
                st.markdown("\n".join(map(_row, lines)))
    st.download_button("Report", report.to_json(), "audit.json", "application/json", icon=":material/download:")


def _row(line: Line) -> str:
    """A line as an item of a list: the question, what was found, what was expected, what to change, how it is known."""
    found, change, expected, evidence = map(markdown.literal, (line.found, line.change, line.expected, line.evidence))
    text = f"- **{markdown.literal(line.what)}**: {found}"
    text += f"; expected {expected}" if expected else ""
    text += f". *{change}*" if change else ""
    return text + (f" :gray[{evidence}]" if evidence else "")
