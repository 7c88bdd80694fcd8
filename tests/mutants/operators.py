"""Mutants of a file: its text with one expression of one line changed into what a slip could have written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "in": "not in", "not in": "in"}
WORDS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in",
    ast.NotIn: "not in",
}  # fmt: skip
COMPUTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.Pow: ("**", "*"),
    ast.FloorDiv: ("//", "/"),
}  # fmt: skip
PAIRS = (
    ("max", "min"), ("all", "any"), ("maximum", "minimum"), ("mean", "sum"), ("amax", "amin"), ("argmax", "argmin"),
)  # fmt: skip
RENAMED = dict(PAIRS) | {b: a for a, b in PAIRS}
BARE = ("max", "min", "all", "any")  # as functions; `sum` has no counterpart among them
GUARDS = ("strict", "frozen")  # of zip and of dataclasses: they change no number, but refuse what no caller does
DROPPED = ("abs", "sqrt", "square", "clamp", "clamp_min", "clamp_max", "clip")


@dataclass(frozen=True)
class Mutant:
    """One changed expression: where it is in the text, and what stands there instead."""

    file: str
    line: int
    start: int
    end: int
    new: str

    def applied(self, text: str) -> str:
        """The whole text with the change."""
        lines = text.splitlines(keepends=True)
        lines[self.line - 1] = self.changed(lines[self.line - 1])
        return "".join(lines)

    def changed(self, line: str) -> str:
        """The line with the change; columns of `ast` count bytes."""
        raw = line.encode()
        return (raw[: self.start] + self.new.encode() + raw[self.end :]).decode()


def mutants(file: str, text: str) -> list[Mutant]:
    """All mutants of a file, in the order of the text."""
    tree = ast.parse(text)
    lines = [line.encode() for line in text.splitlines()]
    found = {
        Mutant(file, line, start, end, new)
        for node in _walk(tree)
        for line, start, end, new in _changes(node, lines)
        if lines[line - 1][start:end].decode() != new
    }
    return sorted(found, key=lambda m: (m.line, m.start, m.end, m.new))


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """What is executed: neither annotations nor what is evaluated for type checking only, nor `GUARDS`."""
    if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
        return
    if isinstance(node, ast.keyword) and node.arg in GUARDS:
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child)


Change = tuple[int, int, int, str]  # line, first and last column, what stands there instead


def _changes(node: ast.AST, lines: list[bytes]) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            if type(op) in WORDS:
                yield from _between(left, right, WORDS[type(op)], COMPARED[WORDS[type(op)]], lines)
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED and not _is_text(node):
        yield from _between(node.left, node.right, *COMPUTED[type(node.op)], lines)
    elif isinstance(node, ast.BoolOp):
        words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from _between(left, right, *words, lines)
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
        words = ("+=", "-=") if isinstance(node.op, ast.Add) else ("-=", "+=")
        yield from _between(node.target, node.value, *words, lines)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node.lineno, node.col_offset, node.col_offset + (1 if isinstance(node.op, ast.USub) else 3), ""
    elif isinstance(node, ast.Constant):
        yield from _constant(node)
    elif isinstance(node, ast.Call):
        yield from _call(node, lines)
    elif isinstance(node, ast.If | ast.IfExp) and node.test.lineno == node.test.end_lineno:
        old = _source(node.test, lines)
        yield (*_place(node.test), f"not ({old})")


def _constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield (*_place(node), str(not value))
    elif isinstance(value, int):
        yield (*_place(node), str(value + 1))
    elif isinstance(value, float):
        yield (*_place(node), repr(2 * value or 1.0))


def _call(node: ast.Call, lines: list[bytes]) -> Iterator[Change]:
    called = node.func
    one = len(node.args) == 1 and not node.keywords
    if isinstance(called, ast.Name) and called.id in BARE:
        yield (*_place(called), RENAMED[called.id])
    elif isinstance(called, ast.Name) and called.id == "abs" and node.lineno == node.end_lineno:
        yield (*_place(node), f"({_source(node.args[0], lines)})")
    elif isinstance(called, ast.Attribute) and node.lineno == node.end_lineno:
        line, _, end = _place(called)
        if called.attr in RENAMED:
            yield line, end - len(called.attr), end, RENAMED[called.attr]
        elif called.attr in DROPPED and _is_module(called.value) and one:
            yield (*_place(node), f"({_source(node.args[0], lines)})")
        elif called.attr in DROPPED and not _is_module(called.value):
            yield (*_place(node), f"({_source(called.value, lines)})")


def _between(left: ast.expr, right: ast.expr, old: str, new: str, lines: list[bytes]) -> Iterator[Change]:
    """The operator between two operands of one line."""
    if left.end_lineno == right.lineno and left.end_col_offset is not None:
        gap = lines[right.lineno - 1][left.end_col_offset : right.col_offset]
        if gap.count(old.encode()) == 1:
            start = left.end_col_offset + gap.index(old.encode())
            yield right.lineno, start, start + len(old), new


def _place(node: ast.expr) -> tuple[int, int, int]:
    assert node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_col_offset


def _source(node: ast.expr, lines: list[bytes]) -> str:
    line, start, end = _place(node)
    return lines[line - 1][start:end].decode()


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "math", "np", "F")


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or isinstance(getattr(side, "value", None), str)
        for side in (node.left, node.right)
    )
