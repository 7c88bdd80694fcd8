"""Reports of `sam-dash audit` that are kept in the user's data, where the dashboard shows them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

from sam_dash.audit.report import Report, checked
from sam_dash.surroundings import data_dir, private

KEPT = 200  # reports at most; the oldest goes first


class Kept(NamedTuple):
    """A report, of which loop, and when, in seconds since 1970."""

    report: Report
    target: str
    at: float


def folder() -> Path:
    """Where they are."""
    return private(data_dir() / "audits")


def keep(report: Report, target: str) -> Path:
    """Keep a report; those beyond `KEPT` are forgotten."""
    text = json.dumps({"target": target, "at": time.time(), "report": json.loads(report.to_json())}, ensure_ascii=False)
    path = folder() / f"{time.time_ns()}.json"
    path.write_text(text, encoding="utf-8")
    for old in files()[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def files() -> list[Path]:
    """The files of all, the newest first."""
    return sorted(folder().glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)


def read(path: Path) -> Kept | None:
    """What a file keeps; None for one that is no report."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Kept(checked(found["report"]), str(found["target"]), float(found["at"]))
    except (ValueError, KeyError, TypeError, OSError):
        return None
