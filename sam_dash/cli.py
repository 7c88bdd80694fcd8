"""The command line: list presets, run a sweep, export a store, serve an engine. docs/commands.md says all of it.

Exit codes: 0 done; 1 some runs failed, diverged or were stopped, or an audit has a red line; 2 bad arguments,
specification or store; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError

from sam_dash import advising, auditing, operating, reporting
from sam_dash.decide import options as deciding
from sam_dash.measuring import add_options
from sam_dash.options import add_sweep_options, sweeps_of
from sam_dash.runs import cost, presets
from sam_dash.runs.environment import default_workers
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError, locate

WORKERS = "worker processes (default: one a core, at most 8; on GPUs SAM_DASH_GPU_SLOTS for each, or at most 4)"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    args = _parser().parse_args(argv)
    try:
        return int(args.command(args))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (SpecError, StoreError, OSError) as error:
        print(f"sam_dash: {error}", file=sys.stderr)
        return 2
    except SQLAlchemyError as error:
        print(f"sam_dash: the store failed: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m sam_dash", description="m-sharpness: train, measure, compare.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: object, about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        sub.set_defaults(command=action)
        return sub

    listed = command("presets", _presets, "list the presets")
    listed.add_argument("--json", action="store_true", help="as one line of JSON (docs/commands.md)")
    run = command("run", _run, "run a sweep: what is in the store already is not run again")
    add_sweep_options(run)
    run.usage = "%(prog)s [SPEC.json] [--preset NAME] [options]"
    run.add_argument("--workers", type=_positive, metavar="N", help=WORKERS)
    _add_scheduler(run)
    _add_store(run)
    run.add_argument("--out", metavar="DIR", help="write the study there, as CSV and JSON")
    run.add_argument("--json", action="store_true", help="the results as one line of JSON (docs/commands.md)")

    export = command("export", _export, "write what a store holds as CSV and JSON")
    _add_store(export)
    export.add_argument("--out", required=True, metavar="DIR")
    export.add_argument("--sweep", metavar="ID", help="only this sweep")

    reporting.add_options(command("report", reporting.report, "write a study as one HTML file that needs nothing else"))

    take = command("import", _import, "take in a study: a zip of the page Export, or runs of another tool as CSV")
    take.add_argument("file", metavar="FILE")
    _add_store(take)
    take.add_argument("--study", metavar="NAME", help="of a CSV: the name of the study (default: the file's)")
    take.add_argument(
        "--columns", metavar="OURS=THEIRS,...",
        help="of a CSV: which column is what: run, step, epoch, variant, m, seed, rho, lam, or a quantity such as "
        "test_acc (default: by their names)",
    )  # fmt: skip
    take.add_argument("--set", metavar="NAME=VALUE,...", help="of a CSV: variant, m, seed, rho, lam of all rows")
    take.add_argument("--network", metavar="NAME", default="", help="of a CSV: the network's name")
    take.add_argument("--batch", type=_positive, metavar="B", help="of a CSV: samples of a batch")

    weights = command("measure", _measure, "measure the sharpness of some weights, each number with its error")
    add_options(weights)

    advising.add_options(
        command("devices", advising.devices, "tell which m are free on several devices, and at which ρ")
    )

    auditing.add_options(command("audit", auditing.audit, "tell which m a training script has, by watching it"))

    choice = command("decide", _decide, "tell whether SAM should be used on a problem, within a budget")
    choice.add_argument("--workers", type=_positive, metavar="N", help=WORKERS)
    _add_store(choice)
    deciding.add_options(choice)

    again = command("paper", _paper, "run the seed paper's tables and figures as recipes, and judge its claims")
    again.add_argument("--workers", type=_positive, metavar="N", help=WORKERS)
    _add_store(again)
    again.add_argument(
        "--scale", choices=("here", "paper"), default="here", help="paper: its settings are said, not run"
    )
    again.add_argument("--only", metavar="NAME,...", help="some of the recipes")
    again.add_argument("--out", metavar="FILE.html", help="write the report there too, with its figures")

    command("saddles", _saddles, "answer lines of JSON on standard input: trajectories, and escapes from a saddle")

    command("look", _look, "answer one line of JSON on standard input: what the page Checkpoints asks of some weights")

    dashboard = command("serve", _serve, "serve the dashboard")
    dashboard.add_argument("options", nargs="*", metavar="OPTION", help="after --: what `streamlit run` takes")

    engine = command("engine", _engine, "train what is queued in a store, until told to leave")
    _add_store(engine)
    engine.add_argument("--workers", type=_positive, metavar="N", help=WORKERS)
    _add_scheduler(engine)
    engine.add_argument("--stale", type=float, default=20.0, metavar="SECONDS", help=argparse.SUPPRESS)

    operating.add(command, _add_store)
    return parser


def _add_store(command: argparse.ArgumentParser) -> None:
    where = "a path or a database URL (default: SAM_DASH_STORE, or a file in the user's data directory)"
    command.add_argument("--store", metavar="URL", help=where)


def _add_scheduler(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--scheduler", default=os.environ.get("SAM_DASH_SCHEDULER"), metavar="tcp://HOST:PORT",
        help="an existing dask cluster, instead of workers on this machine (default: SAM_DASH_SCHEDULER)",
    )  # fmt: skip


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 1024):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number in [1, 1024]")
    return int(text)


def known_speed() -> cost.Speed:
    """This machine's speed by the default store, where that is there already."""
    where = locate(None)
    if where.get_backend_name() == "sqlite" and not (where.database and Path(where.database).is_file()):
        return cost.UNKNOWN
    with closing(Store()) as store:
        return store.speed()


def _presets(args: argparse.Namespace) -> int:
    workers, speed = default_workers(), known_speed()
    prices = {name: cost.preview(preset.sweeps, {}, workers, speed) for name, preset in presets.PRESETS.items()}
    if args.json:
        of = ((name, preset, prices[name]) for name, preset in presets.PRESETS.items())
        about = (
            {"name": name, "title": p.title, "about": p.about, "runs": e.total, "seconds": [e.low, e.high]}
            for name, p, e in of
        )
        print(json.dumps(list(about)))
        return 0
    for name, preset in presets.PRESETS.items():
        expected = prices[name]
        print(f"{name}: {preset.title} ({expected.total} runs, {expected.time})")
        print(f"    {preset.about}")
    return 0


def _run(args: argparse.Namespace) -> int:
    from sam_dash.headless import run  # pandas takes half a second
    from sam_dash.options import whole
    from sam_dash.problems.listing import allow

    if args.problem is not None:
        allow(whole(args.problem))
    sweeps = sweeps_of(args)
    if (args.store or "").count("://") and locate(args.store).password:
        print("a password on a command line is read by every user of the machine: use SAM_DASH_STORE", file=sys.stderr)
    with closing(Store(args.store)) as store:
        return run(sweeps, store, args.workers or default_workers(), args.out, args.scheduler, as_json=args.json)


def _decide(args: argparse.Namespace) -> int:
    from sam_dash.deciding import run  # pandas takes half a second

    return run(args)


def _paper(args: argparse.Namespace) -> int:
    from sam_dash.papering import run  # pandas takes half a second

    return run(args)


def _export(args: argparse.Namespace) -> int:
    from sam_dash.results.files.export import write_study

    with closing(Store(args.store)) as store:
        known = [row["id"] for row in store.sweeps()]
        if args.sweep is not None and args.sweep not in known:
            raise SpecError(f"no sweep {args.sweep!r} in this store; there are: {', '.join(known) or 'none'}")
        for path in write_study(store, args.sweep, args.out):
            print(path)
    return 0


def _import(args: argparse.Namespace) -> int:
    from sam_dash.results.files import brought, foreign
    from sam_dash.runs.merge import merge

    path = Path(args.file)
    content = path.read_bytes()
    with closing(Store(args.store)) as store:
        if path.suffix.lower() == ".zip":
            merged = merge(store, *brought.read(path.name, content, own=True), source=path.name)
        else:
            table = foreign.table(path.name, content)
            columns = _pairs("--columns", args.columns) or foreign.guess(table.columns)
            said, name = _pairs("--set", args.set), args.study or path.stem
            found = foreign.read(table, columns, name, said, args.network, args.batch or 0)
            for note in (*found.notes, f"columns: {', '.join(f'{a} is {b!r}' for a, b in columns.items())}"):
                print(note, file=sys.stderr)
            merged = merge(store, [found.study], found.runs, source=path.name)
    print(f"{len(merged.new)} runs taken in, {merged.kept} were there already: {' '.join(merged.sweeps)}")
    return 0


def _pairs(option: str, text: str | None) -> dict[str, str]:
    """Names with their values, "a=b,c=d"."""
    parts = [part.partition("=") for part in (text or "").split(",") if part.strip()]
    if bad := [a for a, equals, b in parts if not (equals and a.strip() and b.strip())]:
        raise SpecError(f"{option}: {bad[0]!r}: expected NAME=VALUE, separated by commas")
    return {a.strip(): b.strip() for a, _, b in parts}


def _measure(args: argparse.Namespace) -> int:
    from sam_dash.measuring import measure

    try:
        return measure(args)
    except ValueError as error:  # bad weights, a quantity that is not known, a network that cannot be measured
        raise SpecError(str(error)) from None


def _saddles(_args: argparse.Namespace) -> int:
    from sam_dash.runs.saddle_work import serve  # torch

    return serve(sys.stdin, sys.stdout)


def _look(_args: argparse.Namespace) -> int:
    from sam_dash.runs.look_work import serve  # torch

    return serve(sys.stdin, sys.stdout)


def _serve(args: argparse.Namespace) -> int:
    """Become `streamlit run`: beside the package where that is a checkout, else of the files installed within it."""
    here = Path(__file__).parent
    app = next((app for app in (here.parent / "app.py", here / "dashboard" / "app.py") if app.is_file()), None)
    if app is None:
        raise OSError("the dashboard's app.py is not in this copy of sam-dash")
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", str(app), *args.options])


def _engine(args: argparse.Namespace) -> int:
    with closing(Store(args.store)) as store:
        from sam_dash.runs.engine import serve  # dask, for the engine's process only

        return serve(store, args.workers, args.scheduler, args.stale)
