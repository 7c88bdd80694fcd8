"""Pages run through app.py in this process, on a store of their own, without an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from sam_dash.results.numbers import study as studies
from sam_dash.runs import launch
from sam_dash.runs.spec import RunSpec
from sam_dash.runs.store import Store
from tests import synthetic

ROOT = Path(__file__).parents[2]
ALONE = {"overview", "saddles", "experiments", "paper", "decide", "audit"}
"""Pages that show no study of the user's choice."""
# each AppTest reads the metadata of all installed packages, which takes four times as long as to draw a page
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


class NoEngine:
    """Takes the engine's place: runs stay in the queue."""

    alive = True

    def close(self) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "store.db"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(launch, "start", lambda *_, **__: NoEngine())
    monkeypatch.setattr(studies, "EXAMPLE", tmp_path / "no-example")
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    found = Store()
    yield found
    found.close()
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def visit(store: Store) -> Callable[..., AppTest]:
    """Open a page with a query, as a browser would; it must not raise."""

    def visit(page: str = "overview", **query: Any) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
        if page != "overview":
            at.switch_page(f"pages/{page}.py")
        for name, value in query.items():
            at.query_params[name] = value
        at.run()
        assert not at.exception, at.exception[0].message
        return at

    return visit


@pytest.fixture
def richer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented runs also have what only some studies measure."""
    plain = synthetic.values

    def values(run: RunSpec, share: float = 1.0) -> dict[str, float]:
        found = plain(run, share)
        found |= {f"tr_V@{m}": found["tr_V"] / m for m in (2, 4, 8)} | {
            "grad_sq": 0.5 - run.seed,
            "tail": 3.0 + run.seed,
        }
        found |= {
            f"{key}@m=1,rho={rho}": rho + run.seed / 9 for key in ("added_error", "added_error0") for rho in (0.1, 1)
        }
        return found | {f"m_sharp@{m}": 0.01 * found["tr_H"] / m for m in (1, 2, 4, 8)}

    monkeypatch.setattr(synthetic, "values", values)
