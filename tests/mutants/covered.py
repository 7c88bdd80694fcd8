"""Which tests run a line of the project, and how long each takes: measured once, kept until a text changes."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Lines = dict[str, list[int]]  # by file, from the root of the tree


class Recorder:
    """A plugin of pytest: the seconds and the lines of each test that passes.

    What a fixture of a file runs counts for every test that asks for it, and a cached function runs anew in each.
    """

    def __init__(self, tree: Path) -> None:
        self.tree, self.inside = tree, f"{tree}/sam_dash/"
        self.lines: set[tuple[str, int]] = set()
        self.shared: dict[Any, set[tuple[str, int]]] = {}
        self.tests: dict[str, tuple[float, Lines]] = {}
        self.failed: list[str] = []

    def _call(self, frame: Any, event: str, arg: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(self.inside) else None

    def _line(self, frame: Any, event: str, arg: Any) -> Any:
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        """Of one test, from its set-up to its end."""
        for name, module in list(sys.modules.items()):
            if name.startswith(("sam_dash", "tests")):
                for value in list(vars(module).values()):
                    if isinstance(value, functools._lru_cache_wrapper):
                        value.cache_clear()
        self.lines = set()
        start, failures = time.process_time(), len(self.failed)  # whatever else the machine does
        threading.settrace(self._call)
        sys.settrace(self._call)
        try:
            found = yield
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                self.lines |= self.shared.get(definition, set())
        if len(self.failed) == failures:
            self.tests[item.nodeid] = round(time.process_time() - start, 3), self._by_file()
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """Of one fixture."""
        before, self.lines = self.lines, set()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":
                self.shared[fixturedef] = self.lines
            self.lines = before | self.lines

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Of a test's set-up, call and end."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        """Of a file."""
        if report.failed:
            self.failed.append(report.nodeid)

    def _by_file(self) -> Lines:
        out: Lines = {}
        for name, line in sorted(self.lines):
            out.setdefault(str(Path(name).relative_to(self.tree)), []).append(line)
        return out

    @property
    def found(self) -> dict[str, Any]:
        """What is kept of a file of tests."""
        return {"tests": self.tests, "failed": sorted(set(self.failed))}


class Kept:
    """What was measured of each file of tests, in a file each; forgotten with a change of it or of what it ran."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "build" / "mutants"
        self.helpers = [str(p.relative_to(root)) for p in sorted(root.glob("tests/**/*.py"))
                        if not p.name.startswith("test_") and "mutants" not in p.parts]  # fmt: skip
        self.sound: dict[str, dict[str, Any]] = {}

    def get(self, test: str) -> dict[str, Any] | None:
        """Of a file of tests, as `Recorder.found`; None where it is to be measured."""
        if test not in self.sound and self._path(test).is_file():
            known = json.loads(self._path(test).read_text())
            if known["key"] == self._key(test, known["found"]):
                self.sound[test] = known["found"]
        return self.sound.get(test)

    def put(self, test: str, found: dict[str, Any]) -> None:
        """Keep it."""
        self.sound[test] = found
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._path(test).with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({"key": self._key(test, found), "found": found}))
        part.replace(self._path(test))  # at once: other workers read it

    def _path(self, test: str) -> Path:
        return self.folder / f"{test.replace('/', '.')}.json"

    def _key(self, test: str, found: dict[str, Any]) -> str:
        ran = {file for _, lines in found["tests"].values() for file in lines}
        texts = [self.root / name for name in (test, *self.helpers, *sorted(ran))]
        return hashlib.sha256(b"\0".join(p.read_bytes() for p in texts if p.is_file())).hexdigest()
