"""What engines have done and met, a line an event, in a bounded file: $XDG_DATA_HOME/sam-dash/logs/engine.log."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from sam_dash.runs.outbox import Tries
from sam_dash.runs.report import one_line
from sam_dash.runs.tables import passing
from sam_dash.surroundings import data_dir, private_file

SIZE, KEPT = 1_000_000, 3  # bytes of a file, and how many older ones are kept
LINE = "%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s"


def place() -> Path:
    """The file that is written to now."""
    return data_dir() / "logs" / "engine.log"


class _Rotating(WatchedFileHandler):
    """A file that several engines write to: whoever finds it full moves it on, and the others follow."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; a disk that is full, or a home that is read-only, costs the line only."""
        with suppress(OSError):
            path = Path(self.baseFilename)
            if path.is_file() and path.stat().st_size > SIZE:
                for i in range(KEPT, 0, -1):
                    older = path if i == 1 else path.with_name(f"{path.name}.{i - 1}")
                    if older.is_file():
                        os.replace(older, path.with_name(f"{path.name}.{i}"))
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is left out."""


def journal(name: str) -> logging.Logger:
    """Where an engine of this name says what it does."""
    logger = logging.getLogger(f"sam_dash.{name}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not logger.handlers:
        with suppress(OSError):
            path = place()
            private_file(path)
            handler = _Rotating(path, encoding="utf-8", delay=True)
            handler.setFormatter(logging.Formatter(LINE))
            logger.addHandler(handler)
    return logger


class Survivor:
    """Does something; a store that fails (a full disk, a lost connection) is said in a line, once, and tried again.

    Raises:
        StoreLostError: where it has failed for `outbox.LIMIT`.
        StoreGoneError: where its file was deleted or replaced.
    """

    def __init__(self, journal: logging.Logger | None = None) -> None:
        self.said, self.journal, self.tries = "", journal, Tries()

    def __call__(self, action: Callable[[], object]) -> None:
        """Do it, or say why not; after an action that returns False nothing is known."""
        try:
            if action() is False:
                return
        except SQLAlchemyError as error:
            self._say(f"the store failed: {one_line(error)}")
            if passing(error):
                self.tries.failed(error)
        else:
            self.tries.succeeded()
            self._say("the store answers again" if self.said else "")
            self.said = ""

    def _say(self, line: str) -> None:
        if line and line != self.said:
            print(f"engine: {line}", file=sys.stderr, flush=True)
            if self.journal is not None:
                self.journal.warning(line)
        self.said = line
