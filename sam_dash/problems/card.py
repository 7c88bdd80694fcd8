"""What is known of a problem file without running it here: its card, made in a process of its own and kept. Torch-free.

A card is kept until the file, or another that was read to make it, is changed. What is wrong with a file is one line
with the file's own line number, and is tried again after half a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sam_dash
from sam_dash.problems.arrays import DataError
from sam_dash.surroundings import cache_dir, child, private

FILE = "file:"
WANTED = "expected a Python file with data, network and loss"
PATIENCE = 60.0  # seconds that a file may take, unless SAM_DASH_PROBLEM_SECONDS says otherwise
AGAIN = 30.0  # seconds until a file that was wrong is tried again, though it has not changed

WAYS = {
    "chain": "all runs in one pass",
    "eager": "by autograd",
    "plain": "by autograd",
    "factored": "all of them in one pass, by factored gradients",
    "intercepted": "all of them in one pass, by factored gradients",
    "vmapped": "vectorised",
    "looped": "one after another, which is slow",
}
"""What is said of the ways to take a step."""

Stamp = tuple[str, int, int]  # a file, when it was changed, its size


@dataclass(frozen=True)
class Card:
    """A problem file in numbers and words.

    `digest`: of the file, those beside it that it imports, and its arrays. `shape`, `kind`: of one input. `labels`,
    `labels_kind`: of one label. `outputs`: the shape of a sample's outputs. `parameters`: d; `work`: multiply-adds of a
    sample's forward; `layers`: their parameters by name; `widths`: the hidden ones of a perceptron. `loss`: its title;
    `score`: the key of its `Score`, or "". `ways`: how steps are taken, of a whole batch and of micro-batches (see
    `sam_dash.runs.steppers`). `wrong`: why second derivatives cannot be measured, or "". `smooth`: whether
    the outputs are not piecewise linear in the weights. `seconds`: that reading took.
    """

    digest: str
    shape: tuple[int, ...]
    kind: str
    labels: tuple[int, ...]
    labels_kind: str
    n_train: int
    n_test: int
    classes: int
    outputs: tuple[int, ...]
    parameters: int
    work: int
    layers: Mapping[str, int]
    widths: tuple[int, ...]
    loss: str
    score: str
    augmented: bool
    ways: tuple[str, str]
    wrong: str
    smooth: bool
    defaults: Mapping[str, Any]
    seconds: float

    def text(self) -> str:
        """What was found, in words."""
        labels = f"{self.classes} classes" if self.classes else f"labels {_shape(self.labels)} {self.labels_kind}"
        score = self.score.partition("_")[2] or {"acc": "accuracy"}.get(self.score, "none")
        whole, parts = (WAYS[way] for way in self.ways)
        return (
            f"{self.n_train} training and {self.n_test} test samples {_shape(self.shape)} {self.kind}, {labels}; "
            f"{self.parameters} parameters; loss {self.loss}, score {score}{', augmented' if self.augmented else ''}. "
            f"Steps of a whole batch: {whole}; of micro-batches: {parts}."
        )

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Card:
        """A card from JSON values."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(['n', *map(str, shape)])}{',' * (not shape)})"


_KNOWN: dict[str, tuple[tuple[Stamp, ...], Card]] = {}
_WRONG: dict[str, tuple[tuple[Stamp, ...], float, str]] = {}


def card(path: str | Path) -> Card:
    """The card of a problem file, whose code a process of its own runs where no card is kept.

    Raises:
        DataError: in one line, with the file's own line number: what is wrong, and what was expected.
    """
    path = Path(path).expanduser().absolute()
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}: {WANTED}")
    known = _KNOWN.get(str(path)) or _kept(path)
    if known and known[0] == stamps(stamp[0] for stamp in known[0]):
        _KNOWN[str(path)] = known
        return known[1]
    before = stamps([path])
    wrong = _WRONG.get(str(path))
    if wrong and wrong[0] == before and time.monotonic() - wrong[1] < AGAIN:
        raise DataError(wrong[2])
    try:
        found = describe(path)
    except DataError as error:
        _WRONG[str(path)] = before, time.monotonic(), str(error)
        raise
    _KNOWN[str(path)] = stamps(found["files"]), Card.read(found["card"])
    _keep(path, found)
    return _KNOWN[str(path)][1]


def stamps(files: Any) -> tuple[Stamp, ...]:
    """When each of these files was changed, and its size; -1 for one that is gone."""
    out = []
    for file in map(str, files):
        try:
            found = os.stat(file)
            out.append((file, found.st_mtime_ns, found.st_size))
        except OSError:
            out.append((file, -1, -1))
    return tuple(out)


def patience() -> float:
    """Seconds that a file may take."""
    return float(os.environ.get("SAM_DASH_PROBLEM_SECONDS") or PATIENCE)


def late(seconds: float) -> str:
    """What is said of a file that takes longer."""
    longer = "SAM_DASH_PROBLEM_SECONDS=600 gives it longer"
    return f"it is still at this after {seconds:g} s: is it a loop without end? {longer}"


def describe(path: Path) -> dict[str, Any]:
    """The card of a file and the files that it is of, by a process that has `PATIENCE`; DataError as `card` raises."""
    limit = patience()
    with tempfile.TemporaryDirectory() as folder:
        answer, told = Path(folder, "answer"), Path(folder, "told")
        with told.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sam_dash.runs.describe", str(path), str(answer), str(limit)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=child(OMP_NUM_THREADS="1"),
            )  # fmt: skip
            overdue = False
            try:
                process.wait(limit + 30)  # beyond the time to import torch; the process looks at the clock itself
            except subprocess.TimeoutExpired:
                overdue = True
            finally:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)  # with whatever it has started
                process.wait()
        found = json.loads(answer.read_text()) if answer.is_file() else None
        if found is None:
            raise DataError(_no_answer(path, process.returncode, overdue, limit, told.read_text(errors="replace")))
    if "error" in found:
        raise DataError(found["error"])
    return dict(found)


def _no_answer(path: Path, code: int, overdue: bool, limit: float, said: str) -> str:
    """Why a process has said nothing: what it printed tells the line, where it was ended for its time."""
    lines = re.findall(rf'File "{re.escape(str(path))}", line (\d+)', said)
    if overdue or "Timeout" in said:
        at = f", line {lines[0]}" if lines else ""
        return f"{path.name}{at}: {late(limit)}"
    last = said.strip().splitlines()[-1:] or ["without a word"]
    return f"{path.name}: the process that reads it has ended (code {code}): {last[0]}"


def _place(path: Path) -> Path:
    return cache_dir() / "problems" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"


def _kept(path: Path) -> tuple[tuple[Stamp, ...], Card] | None:
    """The card that was kept of a file, by this version of the package, and the stamps of what it was made of."""
    try:
        data = json.loads(_place(path).read_text())
        known = tuple((str(a), int(b), int(c)) for a, b, c in data["stamps"])
        return (known, Card.read(data["card"])) if data["version"] == sam_dash.__version__ else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, found: Mapping[str, Any]) -> None:
    """Keep a card for other processes; a full disk costs only the next one."""
    place = _place(path)
    temporary = place.with_suffix(f".{os.getpid()}")
    data = {"version": sam_dash.__version__, "stamps": _KNOWN[str(path)][0], "card": found["card"]}
    try:
        private(place.parent)
        temporary.write_text(json.dumps(data))
        temporary.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
