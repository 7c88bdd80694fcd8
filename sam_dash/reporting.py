"""The command `report`: a study of a store as one HTML file."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from sam_dash import command
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store

EXAMPLE = "example"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "study", metavar="STUDY", help=f"its id, or the first characters of it; “{EXAMPLE}”: the one that ships"
    )
    parser.add_argument("--out", metavar="FILE", help="default: study-ID.html, here")
    parser.add_argument("--store", metavar="URL", help="of the study (default: SAM_DASH_STORE)")


def report(args: argparse.Namespace) -> int:
    """Write it; 0. Raises: SpecError, in one line, for a study that is not there or has no result."""
    from sam_dash.results.files import report as reports  # pandas and Plotly take a second
    from sam_dash.results.numbers import study as studies

    if args.study == EXAMPLE:
        study = studies.from_folder(studies.EXAMPLE)
        if study is None:
            raise SpecError("no example is bundled with this copy of sam-dash")
        text = reports.write(study, None, command.line(study.spec))
    else:
        with closing(Store(args.store)) as store:
            study = studies.from_store(store, _found(args.study, [row["id"] for row in store.sweeps()]))
            if study is None or study.finals.empty:
                raise SpecError(f"study {args.study}: no run of it has finished, so there is nothing to report")
            text = reports.write(study, store, None if study.recorded else command.line(study.spec))
    path = Path(args.out or f"study-{study.id[:12]}.html")
    path.write_text(text, encoding="utf-8")
    print(path)
    return 0


def _found(asked: str, ids: list[str]) -> str:
    """The one id that begins so."""
    found = [each for each in ids if each.startswith(asked)]
    if len(found) != 1 or not asked:
        what = f"{len(found)} studies begin with" if found and asked else "no study"
        raise SpecError(f"{what} {asked!r} in this store; there are: {', '.join(found or ids) or 'none'}")
    return found[0]
