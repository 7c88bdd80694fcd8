"""Do the tests notice a slip? A seeded sample of one-line mutants, each tried against the tests that run its line.

make mutants, or python -m tests.mutants [--seed 0] [--sample 60] [--files sam_dash/maths/noise.py ...]

Which tests: those that run the line, of the file of the module's own name, then of those that import it, then of those
that import what imports it (`mapping.py`), quick ones first, until one fails, as far as BUDGET reaches: what none of
these notices survives. What each runs is measured when it is first asked for (`covered.py`) and kept in build/ until a
text changes. A line that is run at import, as a default is, counts for all tests, and first for those of the docs,
where it may stand a second time; one that no test runs in its own process counts for those nearest to it. A test that
fails is believed only if it passes without the mutant, and an overrun of the time only if these tests come to an end in
it without. Exit status 1 if fewer than 95 % are killed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.mutants import equivalent
from tests.mutants.covered import Kept
from tests.mutants.mapping import Mapping
from tests.mutants.operators import Mutant, mutants
from tests.mutants.trial import Outcome, attempt, changed, copied, measured, preload

ROOT = Path(__file__).parents[2]
PLACES = ("sam_dash/variants", "sam_dash/maths", "sam_dash/results/numbers", "sam_dash/results/claims")
DOCS = "tests/test_docs.py"
LIMIT = 1500.0  # seconds for a file of tests that is measured
BUDGET = 30.0  # seconds of tests, as measured, that a mutant is tried against
PATIENCE = 60.0  # seconds beyond ten times those
DISTANCES = 3  # imports between a module and a file of tests that is asked
QUICK = 0.5  # seconds of a test that is tried before all others
WANTED = 0.95


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Try a sample of a tree; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, default=60, help="how many mutants")
    parser.add_argument("--files", nargs="*", help="of these files and folders only")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    chosen = sample(root, options.files, options.sample, options.seed)
    preload()
    return judge(root, chosen, Trials(root, options.workers).run(chosen))


def sample(root: Path, places: list[str] | None, size: int, seed: int) -> list[Mutant]:
    """Mutants drawn without replacement, leaving out those known to be no change."""
    paths = [root / place for place in places or PLACES]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    names = [str(file.relative_to(root)) for file in files]
    found = [m for name in names for m in mutants(name, text_of(root, name)) if not equivalent.known(m, root)]
    return sorted(random.Random(seed).sample(found, min(size, len(found))), key=lambda m: (m.file, m.line, m.start))


def text_of(root: Path, file: str) -> str:
    """The text of a file of the tree."""
    return (root / file).read_text(encoding="utf-8")


class Trials:
    """Trials side by side, each worker in a copy of the tree."""

    def __init__(self, root: Path, workers: int) -> None:
        self.root, self.workers, self.mapping, self.kept = root, workers, Mapping(root), Kept(root)

    def run(self, chosen: list[Mutant]) -> list[str]:
        """For each mutant the test that killed it, "" for a survivor."""
        with ProcessPoolExecutor(self.workers, get_context("fork")) as pool:
            parts = list(pool.map(self._in_a_copy, [chosen[i :: self.workers] for i in range(self.workers)]))
        killers = {mutant: killer for part in parts for mutant, killer in part.items()}
        return [killers[mutant] for mutant in chosen]

    def _in_a_copy(self, mutants: list[Mutant]) -> dict[Mutant, str]:
        out = {}
        with copied(self.root) as tree:
            for mutant in mutants:
                killer = out[mutant] = self.trial(tree, mutant)
                said = "killed  " if killer else "SURVIVED"
                print(f"{said} {describe(self.root, mutant)}  {killer}", flush=True)
        return out

    def trial(self, tree: Path, mutant: Mutant) -> str:
        """The test that kills a mutant, "" if all pass."""
        text, left = mutant.applied(text_of(self.root, mutant.file)), BUDGET
        for tests in self.stages(tree, mutant):
            spent = list(accumulate(tests.values()))
            some = [test for test, after in zip(tests, spent, strict=True) if after <= left] or list(tests)[:1]
            left -= sum(tests[test] for test in some)
            limit = PATIENCE + 10 * sum(tests[test] for test in some)
            with changed(tree / mutant.file, text):
                outcome = attempt(tree, some, limit)
            if not outcome.ended and attempt(tree, some, limit).ended:
                return f"not ended after {limit:.0f} s"
            if outcome.failed and not self._fails_anyway(tree, outcome, limit):
                return outcome.failed
            if left <= 0:
                break
        return ""

    def _fails_anyway(self, tree: Path, outcome: Outcome, limit: float) -> bool:
        if "::" not in outcome.failed:  # not to be collected, or fallen
            return False
        anyway = attempt(tree, [outcome.failed], limit).failed
        if anyway:
            print(f"not believed, as it fails without a mutant too: {anyway}", flush=True)
        return bool(anyway)

    def stages(self, tree: Path, mutant: Mutant) -> Iterator[dict[str, float]]:
        """The tests to try and their seconds, one run after the other: of what is measured first, then file by file."""
        text = text_of(self.root, mutant.file)
        lines, everywhere = statement(text, mutant.line), at_import(text, mutant.line)
        levels = self.mapping.nearest(mutant.file)[:DISTANCES]
        if everywhere and (self.root / DOCS).is_file():
            yield in_order({test: seconds for test, (seconds, _) in self.measured(tree, DOCS).items()})
        none = True
        for level in levels:
            known = [file for file in level if self.kept.get(file) is not None]
            for files in (known, *([file] for file in level if file not in known)):
                of = [(test, *found) for file in files for test, found in self.measured(tree, file).items()]
                running = {t: s for t, s, ran in of if lines & set(ran.get(mutant.file, ())) or everywhere}
                none &= not running
                if running:
                    yield in_order(running)
        if none:
            yield in_order({t: s for file in levels[0] for t, (s, _) in self.measured(tree, file).items()})

    def measured(self, tree: Path, file: str) -> dict[str, Any]:
        """The tests of a file with their seconds and lines."""
        found = self.kept.get(file)
        if found is None:
            found = measured(tree, file, LIMIT)
            self.kept.put(file, found)
            if found["failed"]:
                print("left out, as they fail without a mutant:", *found["failed"], flush=True)
        return dict(found["tests"])


def in_order(tests: dict[str, float]) -> dict[str, float]:
    """Quick tests first, and by file, those of the quickest file first."""
    whole: dict[str, float] = {}
    for test, seconds in tests.items():
        whole[_file(test)] = whole.get(_file(test), 0.0) + seconds
    return dict(sorted(tests.items(), key=lambda t: (t[1] > QUICK, whole[_file(t[0])], t[1])))


def _file(test: str) -> str:
    return test.partition("::")[0]


def statement(text: str, line: int) -> set[int]:
    """The lines of the innermost statement that holds a line; of one with a body, those of its head."""
    found = {line}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):  # the innermost is walked last
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or 0
            found = set(range(node.lineno, max(last, node.lineno) + 1)) if line <= last else found
    return found


def at_import(text: str, line: int) -> bool:
    """Whether a line is run when the module is imported: it is in the body of no function."""
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    return not any(f.body[0].lineno <= line <= (f.end_lineno or 0) for f in functions)


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
