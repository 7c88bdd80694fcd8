"""Names that others chose (of studies, networks, methods, settings, notes) are text on every page, not Markdown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sam_dash.runs import labels, marks
from sam_dash.runs.recording import RecordedProblem, RecordedStudy, RecordedTraining
from tests.ui.test_recorded import PAGES, record

EVIL = "![x](http://127.0.0.1:9/a.png)"
RENDERED = ("body", "label", "help", "title", "placeholder", "text", "caption", "delta")
PLAIN = ("code", "text_input", "text_area", "selectbox", "multiselect", "json", "arrow_data_frame", "plotly_chart")
"""Kinds of elements whose values are shown as they are."""


def texts(block) -> list[tuple[str, str]]:
    """All texts of a page that Streamlit renders as Markdown, with the kind of their element."""
    found = []
    for child in block.children.values():
        if hasattr(child, "children"):
            found += texts(child)
        proto = getattr(child, "proto", None)
        kind = str(getattr(child, "type", ""))
        for field, value in proto.ListFields() if proto is not None else ():
            if isinstance(value, str) and field.name in RENDERED and not (kind in PLAIN and field.name != "help"):
                found.append((f"{kind}.{field.name}", value))
            elif hasattr(value, "ListFields"):
                found += [
                    (f"{kind}.{field.name}.{f.name}", v)
                    for f, v in value.ListFields() if isinstance(v, str) and f.name in RENDERED
                ]  # fmt: skip
    return found


@pytest.fixture
def hostile(store):
    """A study of recorded runs all of whose names are an image on somebody's server."""
    of = RecordedStudy(
        name=EVIL, problem=RecordedProblem(network=EVIL),
        training=RecordedTraining(batch=64, steps_per_epoch=10, settings={EVIL: EVIL}),
    )  # fmt: skip
    keys = [record(store, of, m, seed, variant=v) for v in ("sam", EVIL) for m in (64, 8) for seed in (0, 1)]
    keys.append(record(store, of, 8, 2, "failed"))
    marks.note(store, keys[0], EVIL)
    labels.put(store, "run", {key: labels.Label(EVIL, (EVIL,)) for key in keys})
    labels.put(store, "study", {store.sweeps()[0]["id"]: labels.Label(EVIL, (EVIL,))})
    return replace(of), keys


@pytest.mark.parametrize("page", PAGES)
def test_a_name_is_text_on_every_page(hostile, store, visit, page) -> None:
    at = visit(page, study=store.sweeps()[0]["id"])
    shown = texts(at.main) + texts(at.sidebar)
    assert shown
    assert [(kind, text[:160]) for kind, text in shown if EVIL in text] == []
