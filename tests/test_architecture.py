"""Imports point one way, and the Streamlit side never loads torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("maths", "variants", "problems", "runs", "results", "ui")
FILES = sorted((ROOT / "sam_dash").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """All modules that a file imports, anywhere in it, but not for type checking only."""
    out: set[str] = set()
    tree = ast.parse(path.read_text())
    guarded = {
        n.lineno
        for top in ast.walk(tree)
        if isinstance(top, ast.If) and getattr(top.test, "id", "") == "TYPE_CHECKING"
        for n in ast.walk(top)
        if isinstance(n, ast.Import | ast.ImportFrom)
    }
    for node in ast.walk(tree):
        if getattr(node, "lineno", None) in guarded:
            continue
        if isinstance(node, ast.Import):
            out |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return out


def layer(module: str) -> int | None:
    parts = module.split(".")
    return LAYERS.index(parts[1]) if parts[0] == "sam_dash" and len(parts) > 1 and parts[1] in LAYERS else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_imports_only_from_layers_to_its_left(path) -> None:
    here = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if here is None:
        assert path.parent == ROOT / "sam_dash"
        return
    too_far = {m for m in imported(path) if (layer(m) or 0) > here}
    assert not too_far


ROOMS = {"words": 0, "numbers": 1, "drawing": 2, "views": 3, "claims": 3, "experiments": 4, "files": 5}
"""Of `results`, from the left: what is said, computed, drawn, shown and judged, and taken away."""


def room(module: str) -> int | None:
    parts = [*module.split("."), "", ""]
    return ROOMS.get(parts[2]) if parts[:2] == ["sam_dash", "results"] else None


def test_a_room_of_results_imports_only_from_rooms_to_its_left() -> None:
    for path in (ROOT / "sam_dash/results").rglob("*.py"):
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        too_far = {m for m in imported(path) if (room(m) or 0) > (len(ROOMS) if here is None else here)}
        assert not too_far, f"{path.relative_to(ROOT)} imports {too_far}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_streamlit_is_imported_by_the_ui_alone(path) -> None:
    assert path.parent.name == "ui" or not any(m.split(".")[0] == "streamlit" for m in imported(path))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_results_and_ui_do_not_name_torch_or_dask(path) -> None:
    roots = {m.split(".")[0] for m in imported(path)}
    assert not {"results", "ui"} & set(path.relative_to(ROOT).parts) or not roots & {"torch", "dask", "distributed"}


def test_importing_all_that_a_page_uses_loads_neither_torch_nor_dask_nor_scipy_stats() -> None:
    modules = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for p in FILES
        if {"results", "ui"} & set(p.relative_to(ROOT).parts) and p.name != "__init__.py"
    ]
    heavy = ("torch", "dask", "distributed", "scipy.stats")  # the last: 50 MB
    code = f"import sys, {', '.join(modules)}; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_pages_are_thin() -> None:
    for page in (ROOT / "pages").glob("*.py"):
        assert len(page.read_text().splitlines()) <= 90, page.name
    assert len((ROOT / "app.py").read_text().splitlines()) <= 30
