"""The command line: list presets, run a sweep, export a store, serve an engine.

Exit codes: 0 done; 1 some runs failed, diverged or were stopped; 2 bad arguments, specification or store; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError

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

    command("presets", _presets, "list the presets")
    run = command("run", _run, "run a sweep: what is in the store already is not run again")
    add_sweep_options(run)
    run.usage = "%(prog)s [SPEC.json] [--preset NAME] [options]"
    run.add_argument("--workers", type=_positive, metavar="N", help=WORKERS)
    _add_store(run)
    run.add_argument("--out", metavar="DIR", help="write the study there, as CSV and JSON")

    export = command("export", _export, "write what a store holds as CSV and JSON")
    _add_store(export)
    export.add_argument("--out", required=True, metavar="DIR")
    export.add_argument("--sweep", metavar="ID", help="only this sweep")

    command("saddles", _saddles, "answer lines of JSON on standard input: trajectories, and escapes from a saddle")

    dashboard = command("serve", _serve, "serve the dashboard")
    dashboard.add_argument("options", nargs="*", metavar="OPTION", help="after --: what `streamlit run` takes")

    engine = command("engine", _engine, "train what is queued in a store, until told to leave")
    _add_store(engine)
    engine.add_argument("--workers", type=_positive, metavar="N", help=WORKERS)
    engine.add_argument(
        "--scheduler", default=os.environ.get("SAM_DASH_SCHEDULER"), metavar="tcp://HOST:PORT",
        help="an existing dask cluster, instead of workers on this machine",
    )  # fmt: skip
    engine.add_argument("--stale", type=float, default=20.0, metavar="SECONDS", help=argparse.SUPPRESS)
    return parser


def _add_store(command: argparse.ArgumentParser) -> None:
    where = "a path or a database URL (default: SAM_DASH_STORE, or a file in the user's data directory)"
    command.add_argument("--store", metavar="URL", help=where)


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


def _presets(_args: argparse.Namespace) -> int:
    workers, speed = default_workers(), known_speed()
    for name, preset in presets.PRESETS.items():
        expected = cost.preview(preset.sweeps, {}, workers, speed)
        print(f"{name}: {preset.title} ({expected.total} runs, {expected.time})")
        print(f"    {preset.about}")
    return 0


def _run(args: argparse.Namespace) -> int:
    from sam_dash.headless import run  # pandas takes half a second

    sweeps = sweeps_of(args)
    with closing(Store(args.store)) as store:
        return run(sweeps, store, args.workers or default_workers(), args.out)


def _export(args: argparse.Namespace) -> int:
    from sam_dash.results.files.export import write_study

    with closing(Store(args.store)) as store:
        known = [row["id"] for row in store.sweeps()]
        if args.sweep is not None and args.sweep not in known:
            raise SpecError(f"no sweep {args.sweep!r} in this store; there are: {', '.join(known) or 'none'}")
        for path in write_study(store, args.sweep, args.out):
            print(path)
    return 0


def _saddles(_args: argparse.Namespace) -> int:
    from sam_dash.runs.saddle_work import serve  # torch

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
