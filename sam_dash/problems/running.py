"""How a user's file is run: in its own folder, under a seed, and with its own lines in what goes wrong."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import sam_dash
from sam_dash.problems.arrays import DataError
from sam_dash.problems.card import WANTED, late, patience

PACKAGE = Path(sam_dash.__file__).parent
INSTALLED = (PACKAGE, *map(Path, ("/dev", "/etc", "/sys", "/usr")))


def source(path: Path) -> str:
    """The text of a problem file; DataError where there is none."""
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}: {WANTED}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise DataError(
            f"{path.name} cannot be read as text: expected a Python file with data, network and loss"
        ) from None


@contextlib.contextmanager
def running(path: Path) -> Iterator[None]:
    """A context in the file's folder, from which it imports and reads; what it prints goes to standard error.

    Nothing compiled is left there: of a module that is changed within a second Python would take the old one.
    """
    before, paths, kept = os.getcwd(), list(sys.path), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path[:] = paths
        os.chdir(before)
        sys.dont_write_bytecode = kept


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A context in which torch's, NumPy's and Python's own generators start from a seed; then they are as before."""
    others = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(others[0])
            np.random.set_state(others[1])


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """A context that raises TimeoutError in whatever is still at it after a problem file's time; of the main thread."""
    seconds = patience()

    def ring(*_: object) -> None:
        raise TimeoutError(late(seconds))

    before = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


@contextlib.contextmanager
def blamed(path: Path, what: str = "", line: int | None = None) -> Iterator[None]:
    """A context whose errors become a DataError in one line, with the file's own line, or `line` where it has none."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, SystemExit too, the user wants to see where
        raise DataError(said(path, error, what, line)) from error


def said(path: Path, error: BaseException, what: str = "", line: int | None = None) -> str:
    """An error in one line: "my_problem.py, line 12: data(): KeyError: 'x'"."""
    at = place(path, error)
    where = at or (path.name + (f", line {line}" if line else ""))
    text = (str(error) if not isinstance(error, SyntaxError) else error.msg).strip().splitlines()
    kind = "" if isinstance(error, ValueError) and not at else type(error).__name__
    return ": ".join(filter(None, [where, what, kind, *text[:1]]))


def place(path: Path, error: BaseException) -> str:
    """The last line of the file, or of one beside it, that an error came through: "my_problem.py, line 12"; or ""."""
    if isinstance(error, SyntaxError) and error.filename and within(Path(error.filename), path.parent):
        return f"{Path(error.filename).name}, line {error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if within(Path(f.filename), path.parent)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


def within(file: Path, folder: Path) -> bool:
    """Whether a file is the user's own: in this folder, and not of an installed package or of this one."""
    installed = {"site-packages", "dist-packages"} & set(file.parts) or file.is_relative_to(PACKAGE)
    return file.is_absolute() and file.is_relative_to(folder) and not installed


def beside(path: Path, before: set[str]) -> list[Path]:
    """The Python files of the folder that were imported since, in order; they are then forgotten, to be read anew."""
    out = []
    for name in [name for name in sys.modules if name not in before]:
        file = getattr(sys.modules[name], "__file__", None)
        if file and within(Path(file), path.parent):
            out.append(Path(file))
            del sys.modules[name]
    return sorted(out)


_SEEN: list[set[Path]] = []  # of every context that looks, the innermost last
_HOOKED: list[bool] = []  # a hook of the interpreter cannot be taken away again


@contextlib.contextmanager
def opened() -> Iterator[set[Path]]:
    """A context that gathers the files which are opened for reading in it, but for those of packages."""
    if not _HOOKED:
        _HOOKED.append(True)
        sys.addaudithook(_look)
    seen: set[Path] = set()
    _SEEN.append(seen)
    try:
        yield seen
    finally:
        _SEEN.pop()


def _look(event: str, args: tuple[object, ...]) -> None:
    if event != "open" or not _SEEN or not isinstance(args[0], str | bytes | os.PathLike):
        return
    if isinstance(args[1], str) and set(args[1]) & set("wax+"):
        return
    path = Path(os.path.abspath(os.fsdecode(args[0])))
    packages = {"site-packages", "dist-packages", "__pycache__"} & set(path.parts)
    if not packages and path.parts[1:2] != ("proc",) and not any(map(path.is_relative_to, INSTALLED)):
        _SEEN[-1].add(path)
