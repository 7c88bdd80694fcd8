"""The commands that look after a store: status, backup, check, vacuum."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sam_dash.runs import limits, upkeep
from sam_dash.runs.cost import duration
from sam_dash.runs.store import Store

Command = Callable[[str, object, str], argparse.ArgumentParser]


def add(command: Command, add_store: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the commands to a parser."""
    shown = command("status", _status, "say whether an engine is there, what is queued, and what room there is")
    shown.add_argument("--json", action="store_true", help="as one line of JSON (docs/commands.md)")
    copied = command("backup", _backup, "copy a store, whole, while others write to it")
    copied.add_argument("out", metavar="FILE")
    checked = command("check", _check, "look for what is wrong in a store: torn, twice, missing")
    checked.add_argument("--json", action="store_true", help="as one line of JSON: a list of what is wrong")
    small = command("vacuum", _vacuum, "give back the room of what was deleted")
    for each in (shown, copied, checked, small):
        add_store(each)


def _status(args: argparse.Namespace) -> int:
    """0; 1 where runs wait, or were left running, and no engine is there."""
    with closing(Store(args.store)) as store:
        found = upkeep.status(store)
    print(json.dumps(found) if args.json else "\n".join(_lines(found)))
    waits = any(found["runs"].get(s) for s in ("queued", "running"))
    return 1 if waits and found["engine"] is False else 0


def _lines(found: dict[str, Any]) -> list[str]:
    engines = [
        f"engine {e['name']}: {_ALIVE[e['alive']]}{f' with {n} workers' if (n := e['workers']) is not None else ''}, "
        f"{e['running']} running" for e in found["engines"]
    ]  # fmt: skip
    counts = ", ".join(f"{n} {s}" for s, n in found["runs"].items()) or "none"
    oldest, disk = found["queue"]["oldest_seconds"], found["disk"]
    waits = "" if oldest is None else f"; the first in the queue for {duration(oldest)}"
    room = "" if disk["free"] is None else f", {_bytes(disk['bytes'])}, {_bytes(disk['free'])} free"
    return [
        f"store {found['store']}: schema {found['schema']}{room}", *(engines or ["engine: none is there"]),
        f"runs: {counts}{waits}", f"log: {found['log']}",
    ]  # fmt: skip


_ALIVE = {True: "at work", False: "has ended", None: "on another machine, not known from here"}


def _bytes(n: int) -> str:
    if n >= 1e6:
        return limits.size(n)
    return f"{n / 1e3:.3g} kB" if n >= 1e3 else f"{n} bytes"


def _backup(args: argparse.Namespace) -> int:
    with closing(Store(args.store)) as store:
        for path in upkeep.backup(store, Path(args.out).expanduser().absolute()):
            print(path)
    return 0


def _check(args: argparse.Namespace) -> int:
    """0 if all is well, else 1."""
    with closing(Store(args.store)) as store:
        found = upkeep.check(store)
    if args.json:
        print(json.dumps(found))
    else:
        for line in found:
            print(line)
        print(f"{len(found)} things are wrong" if found else "all is well", file=sys.stderr)
    return 1 if found else 0


def _vacuum(args: argparse.Namespace) -> int:
    with closing(Store(args.store)) as store:
        before, after = upkeep.vacuum(store)
    print(f"{_bytes(before)} before, {_bytes(after)} now")
    return 0
