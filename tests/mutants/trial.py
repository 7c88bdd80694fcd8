"""Pytest in a process of its own, in a copy of the tree: until the first test that fails, or to measure each."""

from __future__ import annotations

import compileall
import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.covered import Recorder

ROOT = Path(__file__).parents[2]
CARRIED = (
    "app.py", "benchmarks", "docs", "pages", "sam_dash", "tests", "pyproject.toml", "README.md", "CONTRIBUTING.md",
    "Makefile",
)  # fmt: skip
HEAVY = (
    "hypothesis", "numpy", "pandas", "plotly.graph_objects", "scipy.stats", "sqlalchemy", "streamlit",
    "torch",
)  # fmt: skip
PLAIN = ("-p", "no:cacheprovider", "-p", "pytest_timeout")


@dataclass(frozen=True)
class Outcome:
    """What became of a set of tests: the first that failed ("" for none), and whether they came to an end in time."""

    failed: str
    ended: bool


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
        compileall.compile_dir(Path(name) / "sam_dash", quiet=1)
        yield Path(name)


@contextlib.contextmanager
def changed(path: Path, text: str) -> Iterator[None]:
    """Another text in a file of the copy for a while; what was compiled of it is forgotten."""
    before = path.read_text(encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def preload() -> None:
    """Import what takes long and is not of this project, once for all processes that are forked from this one."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            __import__(name)


def attempt(tree: Path, arguments: Sequence[str], limit: float) -> Outcome:
    """Run pytest with these arguments in a tree until a test fails, for at most `limit` seconds."""
    first = First()
    sent = _in_a_process(tree, ["-x", *arguments], first, limit)
    return Outcome("", False) if sent is None else Outcome(str(sent), True)


def measured(tree: Path, test: str, limit: float) -> dict[str, Any]:
    """Each test of a file with its seconds and lines, as `Recorder.found`."""
    sent = _in_a_process(tree, [test], Recorder(tree), limit)
    return sent if isinstance(sent, dict) else {"tests": {}, "failed": [test]}


def _in_a_process(tree: Path, arguments: Sequence[str], plugin: Any, limit: float) -> Any:
    """What a plugin has found at the end; None if that was not reached in time."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(tree, arguments, plugin, there))
    process.start()
    there.close()
    sent = None
    if here.poll(limit):
        try:
            sent = here.recv()
        except EOFError:  # it fell, as by a signal: no test passes then
            process.join()
            sent = f"ended with {process.exitcode}"
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    here.close()
    return sent


class First:
    """A plugin of pytest: the first test that failed, or the file that could not be collected."""

    def __init__(self) -> None:
        self.found = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Of a test's set-up, call and end."""
        if report.failed and not self.found:
            self.found = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        """Of a file."""
        if report.failed and not self.found:
            self.found = report.nodeid


def _run(tree: Path, arguments: Sequence[str], plugin: Any, there: Any) -> None:
    os.setsid()  # what it starts ends with it
    os.chdir(tree)
    sys.dont_write_bytecode = True  # a cached file of the same size and second would be taken for the changed one
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    sys.path[:] = [str(tree), *(p for p in sys.path if p and Path(p) != ROOT)]
    for name in [m for m in sys.modules if m.split(".")[0] in ("tests", "sam_dash", "benchmarks", "docs")]:
        del sys.modules[name]
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    code = pytest.main([*PLAIN, "--rootdir", str(tree), *arguments], [plugin])
    found = plugin.found
    if not found and code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        found = f"pytest: {pytest.ExitCode(code).name}"
    there.send(found)
    there.close()
    os._exit(0)
