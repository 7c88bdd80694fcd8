"""The options of `decide`; the rest of the command takes pandas, and half a second."""

from __future__ import annotations

import argparse
import math


def add_options(command: argparse.ArgumentParser) -> None:
    """The target and the options of `decide`."""
    about = "a problem file, a specification, or a preset: its problem, batch, rate and epochs are started from"
    command.add_argument("target", metavar="PROBLEM.py|SPEC.json|PRESET", help=about)
    command.add_argument(
        "--margin", type=float, default=0.5, metavar="GAIN",
        help="the gain that matters: points of accuracy, or units of another score (default: 0.5)",
    )  # fmt: skip
    command.add_argument(
        "--variants", default="sam", metavar="A,B",
        help="what is raced against the base, at most three of docs/variants.md that have a radius (default: sam)",
    )  # fmt: skip
    command.add_argument("--minutes", type=float, default=30.0, help="at most so long, about (default: 30)")
    command.add_argument("--gradients", type=float, default=math.inf, help="at most so many mini-batch gradients")
    command.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="for a new study on fresh seeds")
    command.add_argument("--json", action="store_true", help="the answer as JSON on standard output")
