"""The zip of a study out and in, and the results table as LaTeX and Markdown."""

from __future__ import annotations

from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from sam_dash import command
from sam_dash.results.drawing import paper
from sam_dash.results.files import brought, gallery, texts
from sam_dash.results.files import bundle as bundles
from sam_dash.results.files import report as reports
from sam_dash.results.numbers.study import Study
from sam_dash.results.views.looked import Looked
from sam_dash.runs.merge import merge
from sam_dash.runs.spec import SpecError
from sam_dash.ui import backend, figure, markdown, pick, table

NOTE = "_import_note"
HOLDS = (
    "runs.csv, curves.csv, estimators.csv, config.json, environment.json, the results table, the figures (SVG, PDF and "
    "their CSV) and a README with the captions."
)
AGAIN = "The command line repeats it from config.json."
NOT_AGAIN = "Its runs were recorded: they cannot be repeated from it, but taken in elsewhere."


def bundle(study: Study) -> None:
    """The button that makes the zip."""
    able = figure.chrome() is not None
    store = None if study.id == pick.EXAMPLE else backend.store()
    render = _printer if able else None
    st.download_button(
        "Download the study", partial(bundles.write, study, store, render, paper.NO_CHROME),
        f"study-{study.name.replace(' ', '')}-{study.id[:6]}.zip", "application/zip", key="zip", on_click="ignore",
        icon=":material/folder_zip:", type="primary",
    )  # fmt: skip
    st.caption(f"{HOLDS} {NOT_AGAIN if study.recorded else AGAIN} {gallery.elsewhere(study)}")
    if not able:
        st.caption(f":material/print_disabled: Without figures: {paper.NO_CHROME}")


def report(study: Study) -> None:
    """The button that makes the report."""
    store = None if study.id == pick.EXAMPLE else backend.store()
    again = None if study.recorded else command.line(study.spec)
    st.download_button(
        "Download a report", lambda: reports.write(study, store, again).encode(), f"study-{study.id[:12]}.html",
        "text/html", key="report", on_click="ignore", icon=":material/summarize:",
        help="One HTML file that needs nothing else and loads nothing: interactive figures, sentences, the table, and "
        "how to repeat it. It prints well; 3 MB, in some seconds.",
    )  # fmt: skip


def checkpoints(at: Looked) -> None:
    """The button that makes the zip of the checkpoints that are shown."""
    able = figure.chrome() is not None
    st.download_button(
        "Download these figures", partial(bundles.of_checkpoints, at, _printer if able else None, paper.NO_CHROME),
        f"{bundles.named(at)}.zip", "application/zip", key="look_zip", on_click="ignore", icon=":material/folder_zip:",
        help="A zip of all of them, both planes too (SVG, PDF and their CSV), the table, and a README with the "
        "captions." + ("" if able else f" Without figures: {paper.NO_CHROME}"),
    )  # fmt: skip


def _printer(fig: go.Figure, kind: str) -> bytes:
    return paper.render(fig, kind, paper.WIDTHS["183 mm"])


def results(study: Study, interval: str) -> None:
    """One row a cell; as LaTeX and Markdown, to copy or download."""
    text, caption = texts.results(study, interval), texts.caption(study, interval)
    table.show(texts.numbers(study, interval), f"Results, one row a setting. {caption}")
    st.caption(markdown.unlinked(caption))
    kinds = {
        "LaTeX": (texts.latex(text, caption), "latex", "tex"),
        "Markdown": (texts.markdown(text, caption), "markdown", "md"),
    }
    tabs = st.tabs(list(kinds), key="table_tab", bind="query-params")
    for tab, (kind, (file, language, ending)) in zip(tabs, kinds.items(), strict=True):
        with tab:
            st.code(file, language=language, wrap_lines=True)
            st.download_button(
                f"{kind} file", file, f"results-{study.id[:6]}.{ending}", "text/plain", key=f"table_{ending}",
                on_click="ignore", icon=":material/download:",
            )  # fmt: skip


def take_in(name: str, content: bytes) -> tuple[str, Any]:
    """Merge a zip into the store; what happened in a sentence, and the study's id."""
    merged = merge(backend.store(), *brought.read(name, content), source=name)
    text = f"{name}: {len(merged.new)} runs taken in"
    text += f"; {merged.kept} were in the store already and stay as they are." if merged.kept else "."
    return text, merged.sweeps[0]


def _brought() -> None:
    file = st.session_state.get("zip_file")
    if file is None:
        return
    try:
        text, study_id = take_in(file.name, file.getvalue())
        pick.choose(study_id)
        st.session_state[NOTE] = (True, text)
    except (SpecError, OSError) as error:
        st.session_state[NOTE] = (False, f"{error}. Nothing was taken in.")


def bring() -> None:
    """The uploader of a zip that “Download the study” made, here or elsewhere."""
    st.file_uploader(
        "A zip from this page, “Download the study”", "zip", key="zip_file", on_change=_brought,
        help="Checked as a whole first. Runs that this store has stay as they are.",
    )  # fmt: skip
    fine, text = st.session_state.pop(NOTE, (True, ""))
    if text:
        (st.success if fine else st.error)(markdown.literal(text), icon=":material/upload_file:")
