"""The trial of a mutant: pytest in a process of its own, in a copy of the tree, until the first test that fails."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CARRIED = (
    "app.py", "benchmarks", "docs", "pages", "sam_dash", "tests", "pyproject.toml", "README.md", "CONTRIBUTING.md",
    "Makefile",
)  # fmt: skip
HEAVY = ("numpy", "pandas", "plotly.graph_objects", "scipy.stats", "sqlalchemy", "torch")


@dataclass(frozen=True)
class Outcome:
    """What became of a set of tests: the first that failed ("" for none), and whether they came to an end in time."""

    failed: str
    ended: bool
    seconds: float


@contextlib.contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of what tests need of a tree, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="sam-dash-mutants-") as name:
        for entry in CARRIED:
            source, target = root / entry, Path(name) / entry
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "screenshots"))
            elif source.exists():
                shutil.copy(source, target)
        yield Path(name)


def preload() -> None:
    """Import what takes long and is not of this project, once for all processes that are forked from this one."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            __import__(name)


def attempt(tree: Path, arguments: Sequence[str], limit: float) -> Outcome:
    """Run pytest with these arguments in a tree, for at most `limit` seconds."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(tree, arguments, there))
    start = time.perf_counter()
    process.start()
    there.close()
    failed, ended = "", here.poll(limit)
    if ended:
        try:
            failed = here.recv()
        except EOFError:  # it fell, as by a signal: no test passes then
            process.join()
            failed = f"ended with {process.exitcode}"
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    here.close()
    return Outcome(failed, ended, time.perf_counter() - start)


class First:
    """Remembers the first test that failed, or the file that could not be collected."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Of a test's set-up, call and end."""
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        """Of a file."""
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _run(tree: Path, arguments: Sequence[str], there: Any) -> None:
    os.setsid()  # what it starts ends with it
    os.chdir(tree)
    sys.dont_write_bytecode = True  # a cached file of the same size and second would be taken for the changed one
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.path[:] = [str(tree), *(p for p in sys.path if p and Path(p) != ROOT)]
    for name in [m for m in sys.modules if m.split(".")[0] in ("tests", "sam_dash", "benchmarks", "docs")]:
        del sys.modules[name]
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    first = First()
    code = pytest.main(["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(tree), *arguments], [first])
    nothing = code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    there.send(first.failed or ("" if nothing else f"pytest: {pytest.ExitCode(code).name}"))
    there.close()
    os._exit(0)
