"""Do the tests notice a slip? A seeded sample of one-line mutants, each tried against the tests nearest to its module.

make mutants, or python -m tests.mutants [--seed 0] [--sample 60] [--files sam_dash/maths/noise.py ...]

Which tests: the file of the module's own name, then those that import it, then those that import what imports it
(`mapping.py`), up to three distances, until one fails; of a variant those that import the registry, the tests that bear
its name first. No page, browser or engine is among them. A mutant survives if all pass. A test that fails is believed
only if it passes without the mutant, and an overrun of the time only if these tests come to an end in it without.
Exit status 1 if fewer than 95 % are killed.
"""

from __future__ import annotations

import argparse
import difflib
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.mutants import equivalent
from tests.mutants.mapping import Mapping
from tests.mutants.operators import Mutant, mutants
from tests.mutants.trial import Outcome, attempt, copied, preload

ROOT = Path(__file__).parents[2]
PLACES = ("sam_dash/variants", "sam_dash/maths", "sam_dash/results/numbers", "sam_dash/results/claims")
LIMIT = 400.0  # seconds for the tests at one distance
DISTANCES = 3
WANTED = 0.95


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Try a sample of a tree; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, default=60, help="how many mutants")
    parser.add_argument("--files", nargs="*", help="of these files only")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    chosen = sample(root, options.files, options.sample, options.seed)
    preload()
    return judge(root, chosen, Trials(root, options.workers).run(chosen))


def sample(root: Path, files: list[str] | None, size: int, seed: int) -> list[Mutant]:
    """Mutants drawn without replacement, leaving out those known to be no change."""
    names = files or [str(p.relative_to(root)) for place in PLACES for p in sorted((root / place).rglob("*.py"))]
    found = [m for name in names for m in mutants(name, text_of(root, name)) if not equivalent.known(m, root)]
    return sorted(random.Random(seed).sample(found, min(size, len(found))), key=lambda m: (m.file, m.line, m.start))


def text_of(root: Path, file: str) -> str:
    """The text of a file of the tree."""
    return (root / file).read_text(encoding="utf-8")


class Trials:
    """Trials side by side, each worker in a copy of the tree."""

    def __init__(self, root: Path, workers: int) -> None:
        self.root, self.workers, self.mapping = root, workers, Mapping(root)
        self.sound: dict[tuple[str, ...], Outcome] = {}

    def run(self, chosen: list[Mutant]) -> list[str]:
        """For each mutant the test that killed it, "" for a survivor."""
        with ProcessPoolExecutor(self.workers, get_context("fork")) as pool:
            return list(pool.map(self._in_a_copy, chosen))

    def _in_a_copy(self, mutant: Mutant) -> str:
        with copied(self.root) as tree:
            killer = self.trial(tree, mutant)
        print(f"{'killed  ' if killer else 'SURVIVED'} {describe(self.root, mutant)}  {killer}", flush=True)
        return killer

    def trial(self, tree: Path, mutant: Mutant) -> str:
        """The test that kills a mutant, "" if all pass."""
        text = text_of(self.root, mutant.file)
        for tests in self.stages(mutant.file):
            (tree / mutant.file).write_text(mutant.applied(text), encoding="utf-8")
            outcome = attempt(tree, tests, LIMIT)
            (tree / mutant.file).write_text(text, encoding="utf-8")
            if not outcome.ended and self.without(tree, tests).ended:
                return f"not ended after {LIMIT:.0f} s"
            if outcome.failed:
                alone = (outcome.failed,) if "::" in outcome.failed else tests
                if self.without(tree, alone).failed:
                    raise SystemExit(f"fails without a mutant too: {outcome.failed}")
                return outcome.failed
        return ""

    def stages(self, file: str) -> list[tuple[str, ...]]:
        """The arguments of pytest, one run after the other."""
        levels = [tuple(level) for level in self.mapping.nearest(file)[:DISTANCES]]
        if not file.startswith("sam_dash/variants/"):
            return levels
        name = Path(file).stem
        return [(*levels[0], "-k", name), (*levels[0], "-k", f"not {name}")]

    def without(self, tree: Path, tests: tuple[str, ...]) -> Outcome:
        """What these tests do where nothing is changed."""
        if tests not in self.sound:
            self.sound[tests] = attempt(tree, tests, LIMIT)
        return self.sound[tests]


def describe(root: Path, mutant: Mutant) -> str:
    """Where it is and what it changes, on one line."""
    line = text_of(root, mutant.file).splitlines()[mutant.line - 1]
    return f"{mutant.file}:{mutant.line}: {mutant.changed(line).strip()}"


def judge(root: Path, chosen: list[Mutant], killed: list[str]) -> int:
    """Print what survived and the share of the killed; the exit status."""
    for mutant, killer in zip(chosen, killed, strict=True):
        if not killer:
            text = text_of(root, mutant.file)
            texts = text.splitlines(), mutant.applied(text).splitlines()
            print("\n" + "\n".join(difflib.unified_diff(*texts, mutant.file, mutant.file, n=1, lineterm="")))
    count = sum(map(bool, killed))
    print(f"\n{count} of {len(chosen)} mutants killed ({count / max(1, len(chosen)):.1%}); wanted {WANTED:.0%}")
    return int(count < WANTED * len(chosen))


if __name__ == "__main__":
    sys.exit(main())
