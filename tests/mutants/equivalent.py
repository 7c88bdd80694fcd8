"""Mutants that change no number, and why; each is told by its line, and forgotten when that changes."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.operators import Mutant

_EQUAL = "sam_dash/results/views/equal_length.py"
_SSAMD = "sam_dash/variants/ssamd.py"
KNOWN: dict[tuple[str, str, str], str] = {
    (_EQUAL, "if abs(near / length - 1) <= SAME:", "if abs(near / length - 1) < SAME:"):
        "a quotient less 1 is a multiple of 2 ** -53, which the float 0.02 is not: they are never equal",
    (_EQUAL, "below, above = [k for k in curve if k < length], [k for k in curve if k > length]",
     "below, above = [k for k in curve if k <= length], [k for k in curve if k > length]"):
        "a length that is equal has been found as near before",
    (_EQUAL, "below, above = [k for k in curve if k < length], [k for k in curve if k > length]",
     "below, above = [k for k in curve if k < length], [k for k in curve if k >= length]"):
        "a length that is equal has been found as near before",
    (_SSAMD, "kept = g.abs().where(mask > 0, -1.0).topk(live - moved).indices",
     "kept = g.abs().where(mask > 0, -2.0).topk(live - moved).indices"):
        "no absolute value is negative: any negative number is below them all",
    (_SSAMD, "grown = z.where(mask == 0, -1.0).topk(moved).indices",
     "grown = z.where(mask == 0, -2.0).topk(moved).indices"):
        "the law is uniform on [0, 1): any negative number is below all draws",
}  # fmt: skip
"""(file, line as it is, line as changed) -> why no test can notice it."""


def known(mutant: Mutant, root: Path) -> bool:
    """Whether a mutant is in the list."""
    line = (root / mutant.file).read_text(encoding="utf-8").splitlines()[mutant.line - 1]
    return (mutant.file, line.strip(), mutant.changed(line).strip()) in KNOWN
