"""Which problem files may be run here: those that SAM_DASH_PROBLEMS names, and what they set, without running them."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from sam_dash.problems.arrays import DataError
from sam_dash.surroundings import paths

PROBLEMS = "SAM_DASH_PROBLEMS"  # the variable that names files and folders, separated as in PATH


def listed() -> list[Path]:
    """The problem files that the operator has put there: those of SAM_DASH_PROBLEMS, and in its folders those that have
    a `data` and a `network`.
    """
    found: dict[Path, None] = {}
    for entry in _entries():
        if entry.is_dir():
            found |= dict.fromkeys(file for file in sorted(entry.glob("*.py")) if {"data", "network"} <= _names(file))
        else:
            found[entry] = None
    return list(found)


def allowed(path: Path) -> bool:
    """Whether a file is one of those that may be run here, or in a folder of those."""
    entries = [entry.resolve() for entry in _entries()]
    return path.suffix == ".py" and bool({path.resolve(), path.resolve().parent} & set(entries))


def allow(path: Path) -> None:
    """Let this process, and those that it starts, run a file, which its user has named."""
    os.environ[PROBLEMS] = os.pathsep.join(filter(None, [os.environ.get(PROBLEMS, ""), str(path)]))


def refuse_unlisted(path: Path) -> None:
    """Raise DataError unless a file may be run here."""
    if not allowed(path):
        raise DataError(
            f"{path.name} is not one of the problem files here, and is not run: give it by --problem, or name it (or "
            f"its folder) in {PROBLEMS}"
        )


def places() -> list[str]:
    """The files and folders whose problem files may be run here, as the beginnings of their paths."""
    return [str(entry / "_")[:-1] if entry.is_dir() else str(entry) for entry in _entries()]


def _entries() -> list[Path]:
    return paths(PROBLEMS)


def _names(file: Path) -> set[str]:
    """What a file sets or imports at its top, without running it."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return set()
    return {name for name, _ in top_names(tree)}


def top_names(tree: ast.Module) -> list[tuple[str, int]]:
    """What is set or imported at the top of a file, and its line."""
    out = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            out.append((node.name, node.lineno))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            out += [(t.id, node.lineno) for t in targets if isinstance(t, ast.Name)]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            out += [((a.asname or a.name), node.lineno) for a in node.names]
    return out
