"""Every test says what must be true."""

from __future__ import annotations

import ast
from pathlib import Path

FILES = sorted(Path(__file__).parent.rglob("test_*.py"))
ASSERTS = {"raises", "warns", "fail", "expect"}  # pytest's, and Playwright's `expect`


def test_a_test_without_an_assertion_is_found() -> None:
    text = "def same(a): assert a\ndef test_a(): same(1)\ndef test_b(): print(1)\ndef test_c(): expect(page).to_be(1)"
    assert silent(text) == ["test_b"]


def test_every_test_asserts_something_itself_or_through_a_helper_of_its_file() -> None:
    found = {path.name: silent(path.read_text()) for path in FILES}
    assert {name: tests for name, tests in found.items() if tests} == {}


def silent(text: str) -> list[str]:
    """The tests of a file that cannot fail but by an exception."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    known: set[str] = set()
    while True:
        found = {f.name for f in functions if any(asserts(node, known) for node in ast.walk(f))}
        if found == known:
            return [f.name for f in functions if f.name.startswith("test_") and f.name not in known]
        known = found


def asserts(node: ast.AST, helpers: set[str]) -> bool:
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.Assert)
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name.startswith("assert_") or name in ASSERTS | helpers
