"""Mutants that change no number, and why; each is told by its line, and forgotten when that changes."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.operators import Mutant

KNOWN: dict[tuple[str, str, str], str] = {}
"""(file, line as it is, line as changed) -> why no test can notice it."""


def known(mutant: Mutant, root: Path) -> bool:
    """Whether a mutant is in the list."""
    line = (root / mutant.file).read_text(encoding="utf-8").splitlines()[mutant.line - 1]
    return (mutant.file, line.strip(), mutant.changed(line).strip()) in KNOWN
