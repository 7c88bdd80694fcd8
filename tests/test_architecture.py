"""Imports point one way, and the Streamlit side never loads torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sam_dash.runs import grammar

ROOT = Path(__file__).parents[1]
LAYERS = ("maths", "variants", "audit", "problems", "runs", "decide", "results", "ui")
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


def offences(wrong: Callable[[Path, set[str]], set[str]]) -> dict[str, set[str]]:
    """Of every file that does so, what it imports wrongly."""
    found = {str(path.relative_to(ROOT)): wrong(path, imported(path)) for path in FILES}
    return {path: modules for path, modules in found.items() if modules}


def test_a_file_imports_only_from_layers_to_its_left() -> None:
    def too_far(path: Path, modules: set[str]) -> set[str]:
        here = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
        assert here is not None or path.parent == ROOT / "sam_dash", f"{path} is in no layer"
        return {m for m in modules if here is not None and (layer(m) or 0) > here}

    assert offences(too_far) == {}


def test_a_definition_knows_nothing_of_the_fast_twins() -> None:
    definitions = [p for p in FILES if p.parent == ROOT / "sam_dash" / "maths"]
    assert definitions
    found = {p.name for p in definitions if any(m.startswith("sam_dash.maths.fast") for m in imported(p))}
    assert found == set()
    assert any("sam_dash.maths.noise" in imported(p) for p in FILES if p.parent.name == "fast")


ROOMS = {"words": 0, "numbers": 1, "drawing": 2, "views": 3, "claims": 3, "experiments": 4, "files": 5}
"""Of `results`, from the left: what is said, computed, drawn, shown and judged, and taken away."""


def room(module: str) -> int | None:
    parts = [*module.split("."), "", ""]
    return ROOMS.get(parts[2]) if parts[:2] == ["sam_dash", "results"] else None


def test_a_room_of_results_imports_only_from_rooms_to_its_left() -> None:
    def too_far(path: Path, modules: set[str]) -> set[str]:
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        inside = path.is_relative_to(ROOT / "sam_dash/results")
        return {m for m in modules if inside and (room(m) or 0) > (len(ROOMS) if here is None else here)}

    assert offences(too_far) == {}


def test_streamlit_is_imported_by_the_ui_alone() -> None:
    def streamlit(path: Path, modules: set[str]) -> set[str]:
        return {m for m in modules if path.parent.name != "ui" and m.split(".")[0] == "streamlit"}

    assert offences(streamlit) == {}


def test_results_and_ui_do_not_name_torch_or_dask() -> None:
    def heavy(path: Path, modules: set[str]) -> set[str]:
        free = {"results", "ui"} & set(path.relative_to(ROOT).parts)
        return {m for m in modules if free and m.split(".")[0] in ("torch", "dask", "distributed")}

    assert offences(heavy) == {}


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


def test_a_docstring_begins_with_what_it_names() -> None:
    """Not with a word that points at something beside it."""
    vague = re.compile(r'^ *r?"""((?:Of|Those|These|The same|Itself)\b[^\n]*)', re.MULTILINE)
    assert vague.findall('"""Of all.\n    """The same.') == ["Of all.", "The same."]
    found = {str(p.relative_to(ROOT)): vague.findall(p.read_text()) for p in [*FILES, *(ROOT / "pages").glob("*.py")]}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_no_symbol_is_made_a_capital() -> None:
    """ρ, λ and p begin sentences as they are, and no word is cased elsewhere."""
    cased = re.compile(r"\.(capitalize|title|swapcase)\(\)|\[:?[01]?\]\.upper\(\)")
    found = [p.name for p in [*FILES, *(ROOT / "pages").glob("*.py")] if cased.search(p.read_text())]
    assert set(found) == {"claim.py", "tenths.py", "grammar.py"}  # words alone; the function itself


def test_a_sentence_begins_with_a_capital_but_not_with_a_capital_symbol() -> None:
    assert grammar.sentence("share of it") == "Share of it"
    assert grammar.sentence("ρ/√d of it") == "ρ/√d of it"
