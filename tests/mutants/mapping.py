"""Which test files are to notice a mutant of a module: those that import it, then those that import what imports it."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = (
    "maths", "variants", "problems", "results", "runs/test_train.py", "runs/test_spec.py", "test_optim.py",
    "test_any_module.py", "test_parts.py", "test_api.py", "test_measure.py",
)  # fmt: skip
"""Where these are looked for: not in a browser, not through pages, not with an engine."""


def module_of(path: Path, root: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """All modules that a file names in an import; of a name taken from a module, both."""
    out: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return out


class Mapping:
    """The graph of imports of a tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.imports = {module_of(p, root): imported(p) for p in sorted((root / "sam_dash").rglob("*.py"))}
        variants = "sam_dash.variants"  # imports whatever is in its folder
        self.imports[variants] = self.imports.get(variants, set()) | {
            m for m in self.imports if m.startswith(f"{variants}.")
        }
        found = [p for name in TESTS for p in _files(root / "tests" / name)]
        helpers = {module_of(p, root): imported(p) for p in sorted((root / "tests").rglob("*.py")) if p not in found}
        self.imports |= {name: some for name, some in helpers.items() if not name.startswith("tests.mutants")}
        self.tests = {p: imported(p) for p in found}

    def nearest(self, file: str) -> list[list[str]]:
        """Test files, those with the shortest way to the module first; those at one distance are one list.

        A file of the module's own name (test_noise.py of noise.py) comes first.
        """
        module = module_of(self.root / file, self.root)
        own = [p for p in self.tests if p.name == f"test_{Path(file).stem}.py"]
        out, seen, reached = [own], set(own), {module}
        frontier = {module}
        while frontier:
            level = [p for p, names in self.tests.items() if names & frontier and p not in seen]
            out.append(level)
            seen |= set(level)
            frontier = {m for m, names in self.imports.items() if names & frontier} - reached
            reached |= frontier
        return [[str(p.relative_to(self.root)) for p in level] for level in out if level]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("test_*.py"))
