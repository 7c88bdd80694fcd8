"""Make every fault happen to real processes, and write what became of the runs: make reliability.

python -m tests.reliability [--only WORDS] [--short] [--out docs/reliability.md]
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sam_dash.runs.environment import cores
from tests.reliability.faults import FAULTS, Fault, server, writers
from tests.reliability.lab import Lab, NotRunError, Row

EPOCHS, SHORT = 600, 4.0  # of the runs; seconds that lasting faults last in the short form
WRITERS, FLUSHES = 16, 50

INTRO = """# What faults do

`make reliability` makes each fault happen to real processes and writes this page: a command (`python -m sam_dash run`)
that trains four runs in two stacks on two workers is disturbed, and then called again until it says that all is done.
"Lost" are runs that are not done then; rows lost or doubled are measurements, per-step values and weights that are not,
bit for bit, those of an undisturbed command, or are there twice. "Commands" is how often it was called again.
`sam-dash check` has found nothing in any of the stores.

{machine}

| fault | runs at risk | runs lost | rows lost | rows doubled | what the user saw | commands to finish |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

{rest}
"""


def main() -> int:
    """0 if nothing was lost or doubled, and no fault took more than one command."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability")
    parser.add_argument("--only", default="", help="faults whose name has these words, or those after a |")
    parser.add_argument("--short", action="store_true", help=f"lasting faults last {SHORT:g} s")
    parser.add_argument("--out", help="write the table there")
    args = parser.parse_args()
    words = args.only.split("|")
    started, rows, others, failed = time.time(), [], [], 0
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        calm = Lab(Path(folder, "calm"), EPOCHS)
        assert calm.run() == 0, calm.said()
        undisturbed = calm.numbers()
        for i, each in enumerate(fault for fault in FAULTS if any(w in fault.name for w in words)):
            try:
                row = tried(each, Path(folder, str(i)), undisturbed, short=args.short)
                print(row, file=sys.stderr, flush=True)
                rows.append(row)
            except NotRunError as error:
                others.append(f"- {each.name}: not run: {error}")
                print(others[-1], file=sys.stderr, flush=True)
            except (AssertionError, TimeoutError, OSError, subprocess.SubprocessError) as error:
                failed += 1
                others.append(f"- {each.name}: **failed**: {error}")
                print(others[-1], file=sys.stderr, flush=True)
        if any(w in "writers" for w in words):
            rows.append(written("SQLite", f"{folder}/many.db"))
            try:
                with server(Path(folder, "server")) as (url, _):
                    rows.append(written("PostgreSQL", url))
            except NotRunError as error:
                others.append(f"- {WRITERS} writers on PostgreSQL: not run: {error}")
    text = page(rows, others, time.time() - started)
    print(text)
    if args.out:
        Path(args.out).write_text(text)
    return 0 if all(row.good for row in rows) and not failed else 1


def tried(fault: Fault, folder: Path, undisturbed: dict, *, short: bool) -> Row:  # type: ignore[type-arg]
    """A fault in a lab of its own."""
    lab = Lab(folder, EPOCHS)
    options = dict(fault.options)
    if short and "seconds" in options:
        options["seconds"] = min(SHORT, float(str(options["seconds"])))
    try:
        commands, saw = fault.make(lab, **options)
        lasting = f", {options['seconds']:g} s" if "seconds" in options else ""
        return lab.row(f"{fault.name}{lasting}", commands, saw, undisturbed)
    finally:
        lab.close()


def written(what: str, url: str) -> Row:
    """The row of many writers."""
    undone, wrong = writers(url, WRITERS, FLUSHES)
    return Row(f"{WRITERS} writers at once on {what}, {FLUSHES} reports each", WRITERS, undone, wrong, 0, "nothing", 0)


def page(rows: list[Row], others: list[str], seconds: float) -> str:
    """The document."""
    where = f"{platform.system()}, {cores()} cores, Python {platform.python_version()}"
    machine = f"Made on {where}, in {seconds / 60:.0f} min."
    table = "\n".join(
        f"| {r.fault} | {r.at_risk} | {r.lost} | {r.rows_lost} | {r.rows_doubled} | {r.saw.replace('|', '/')} "
        f"| {r.commands} |"
        for r in rows
    )
    rest = "\n".join(["Not run here:\n", *others]) if others else "All faults of the list were run."
    return INTRO.format(machine=machine, rows=table, rest=rest)


if __name__ == "__main__":
    sys.exit(main())
