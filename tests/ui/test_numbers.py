"""Tables of the pages: numbers are numbers, so that a click on a column sorts them by size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sam_dash.results.numbers import study as studies
from sam_dash.runs.store import Store
from sam_dash.ui import router
from tests.synthetic import SWEEP, fill

ROOT = Path(__file__).parents[2]
EXAMPLE = studies.EXAMPLE
NUMBER = re.compile(r"[<~±+\-−]?\s*[\d,]*\.?\d+(e[+\-−]?\d+)?\s*(%|points)?")
WITH_MORE = ("noise", "estimators", "rw_sam")  # invented runs have what the example lacks


def texts_of_numbers(frame: pd.DataFrame) -> list[str]:
    """The columns of text in which every cell that is there is a number."""
    found = []
    for name in frame.columns[[not pd.api.types.is_numeric_dtype(t) for t in frame.dtypes]]:
        cells = [str(v) for v in frame[name].dropna() if str(v) not in ("", "–")]
        if cells and all(NUMBER.fullmatch(v) for v in cells):
            found.append(str(name))
    return found


def test_a_text_of_numbers_is_found() -> None:
    frame = pd.DataFrame({"a": ["86.0 %", "–"], "b": ["< 0.001", "1,234"], "c": ["1 of 2", "3"], "d": [1.0, None]})
    assert texts_of_numbers(frame) == ["a", "b"]


def test_every_table_is_shown_by_one_function() -> None:
    files = [*(ROOT / "pages").glob("*.py"), *(ROOT / "sam_dash" / "ui").glob("*.py")]
    assert [p.name for p in files if re.search(r"st\.(dataframe|table)\(", p.read_text())] == ["table.py"]


@pytest.mark.timeout(120)
def test_every_column_of_numbers_is_numeric_in_every_table(
    visit: Any, store: Store, monkeypatch: pytest.MonkeyPatch, richer: None
) -> None:
    monkeypatch.setattr(studies, "EXAMPLE", EXAMPLE)
    own, seen, at = fill(store, SWEEP), 0, visit(study="example")
    pages: list[tuple[str, str, dict[str, str]]] = [("example", page, {}) for page in router.PAGES]
    pages += [(own, page, {}) for page in WITH_MORE]
    pages += [(own, "rw_sam", {"rw_part": part}) for part in ("Its weights", "Its modes")]
    pages += [(own, "runs", {"run": SWEEP.runs()[0].key})]
    for study, page, query in pages:
        at.switch_page(f"pages/{page}.py")
        for name, value in (query | {"study": study}).items():
            at.query_params[name] = value
        assert not at.run().exception
        for table in at.dataframe:
            seen += 1
            assert texts_of_numbers(table.value) == [], (page, study, list(table.value))
    assert seen >= 20
