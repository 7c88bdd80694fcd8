"""Do the tests notice a slip? A seeded sample of one-line mutants, each tried against the tests that run its line.

make mutants, or python -m tests.mutants [--seed 0] [--sample 60] [--files sam_dash/maths/noise.py ...]

Which tests run a line, and for how long, is measured first (`covered.py`; kept in build/ until a text changes). Those
that run it are then tried, quick ones first, until one fails, as far as BUDGET reaches: what none of these notices
survives. A line that is run when its module is imported, or by no test in its own process, is judged by the tests that
run any line of the module and by the files nearest to it (`mapping.py`). A test that fails is believed only if it
passes without the mutant, and an overrun of the time only if these tests come to an end in it without. Exit status 1 if
fewer than 95 % are killed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
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
        self.root, self.workers, self.mapping = root, workers, Mapping(root)
        self.tests: dict[str, tuple[float, dict[str, list[int]]]] = {}

    def run(self, chosen: list[Mutant]) -> list[str]:
        """For each mutant the test that killed it, "" for a survivor."""
        self.measure({mutant.file for mutant in chosen})
        with ProcessPoolExecutor(self.workers, get_context("fork")) as pool:
            parts = list(pool.map(self._in_a_copy, [chosen[i :: self.workers] for i in range(self.workers)]))
        killers = {mutant: killer for part in parts for mutant, killer in part.items()}
        return [killers[mutant] for mutant in chosen]

    def measure(self, changed: Iterable[str]) -> None:
        """Find out which tests run which lines: of the files of tests from which few imports lead to these."""
        kept, start = Kept(self.root), time.perf_counter()
        files = sorted({file for name in changed for level in self.mapping.nearest(name)[:DISTANCES] for file in level})
        known = {file: kept.get(file) for file in files}
        missing = [file for file, found in known.items() if found is None]
        with ProcessPoolExecutor(self.workers, get_context("fork")) as pool:
            for file, found in zip(missing, pool.map(self._measured, missing), strict=True):
                kept.put(file, found)
                known[file] = found
        for found in filter(None, known.values()):
            self.tests |= found["tests"]
            if found["failed"]:
                print("left out, as they fail without a mutant:", *found["failed"], flush=True)
        if missing:
            print(f"measured {len(missing)} files of tests in {time.perf_counter() - start:.0f} s", flush=True)

    def _measured(self, file: str) -> dict[str, Any]:
        with copied(self.root) as tree:
            return measured(tree, file, LIMIT)

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
        text = mutant.applied(text_of(self.root, mutant.file))
        for tests in filter(None, self.stages(mutant)):
            limit = PATIENCE + 10 * sum(self.tests[test][0] for test in tests)
            with changed(tree / mutant.file, text):
                outcome = attempt(tree, tests, limit)
            if not outcome.ended and attempt(tree, tests, limit).ended:
                return f"not ended after {limit:.0f} s"
            if outcome.failed and not self._fails_anyway(tree, outcome, limit):
                return outcome.failed
        return ""

    def _fails_anyway(self, tree: Path, outcome: Outcome, limit: float) -> bool:
        if "::" not in outcome.failed:  # not to be collected, or fallen
            return False
        anyway = attempt(tree, [outcome.failed], limit).failed
        if anyway:
            print(f"not believed, as it fails without a mutant too: {anyway}", flush=True)
        return bool(anyway)

    def stages(self, mutant: Mutant) -> Iterator[list[str]]:
        """The tests to try, one run after the other."""
        text = text_of(self.root, mutant.file)
        lines = statement(text, mutant.line)
        running = {test for test, (_, ran) in self.tests.items() if lines & set(ran.get(mutant.file, ()))}
        if running:
            yield self._order(running)
        if not running or at_import(text, mutant.line):
            of_module = {test for test, (_, ran) in self.tests.items() if mutant.file in ran}
            near = {file for level in self.mapping.nearest(mutant.file)[:2] for file in level}
            yield self._order(of_module | {test for test in self.tests if _file(test) in near})

    def _order(self, tests: set[str]) -> list[str]:
        whole: dict[str, float] = {}
        for test in tests:
            whole[_file(test)] = whole.get(_file(test), 0.0) + self.tests[test][0]
        order = sorted(tests, key=lambda t: (self.tests[t][0] > QUICK, whole[_file(t)], self.tests[t][0]))
        spent = accumulate(self.tests[test][0] for test in order)
        return [test for k, (test, after) in enumerate(zip(order, spent, strict=True)) if after <= BUDGET or not k]


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
