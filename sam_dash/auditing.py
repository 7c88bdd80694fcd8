"""`python -m sam_dash audit script.py:function`: what m a training script has, as lines and as JSON."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sam_dash.audit.kept import keep
from sam_dash.problems.problem import SpecError

PROTOCOL = (
    "expected a function without arguments that returns (model, optimiser, training_step), where training_step() "
    "makes one whole step, optimiser.step() included"
)


def add_options(command: argparse.ArgumentParser) -> None:
    """The target and the options of `audit`."""
    command.add_argument("target", metavar="SCRIPT.py:FUNCTION", help=f"{PROTOCOL}; it is your code, and it is run")
    command.add_argument("--steps", type=int, default=3, metavar="N", help="steps that are watched (default: 3)")
    command.add_argument("--warm", type=int, default=2, metavar="N", help="steps before them (default: 2)")
    command.add_argument("--expect-m", type=int, metavar="M", help="samples that should share one perturbation")
    command.add_argument("--expect-rho", type=float, metavar="RHO", help="the length that the perturbation should have")
    command.add_argument("--json", action="store_true", help="the report as JSON on standard output")


def audit(args: argparse.Namespace) -> int:
    """Watch the steps and print the report, once for all ranks; 0, or 1 where a line is red."""
    import torch.distributed as dist

    from sam_dash.audit import audit as watch

    if args.steps < 1 or args.warm < 0:
        raise SpecError(f"--steps {args.steps} --warm {args.warm}: expected at least 1 and 0")
    model, optimiser, step = _made(args.target)
    try:
        for _ in range(args.warm):
            step()
        with watch(model, optimiser) as a:
            for _ in range(args.steps):
                step()
        report = a.report(m=args.expect_m, rho=args.expect_rho)
    except ValueError as error:
        raise SpecError(str(error)) from error
    alone = not (dist.is_available() and dist.is_initialized())
    if alone or dist.get_rank() == 0:
        print(report.to_json() if args.json else report)
        try:
            keep(report, args.target)
        except OSError as error:  # a container's read-only home is no fault of the loop
            print(f"the report is not kept for the dashboard: {error}", file=sys.stderr)
    return 1 if report.light == "red" else 0


def _made(target: str) -> tuple[Any, Any, Callable[[], Any]]:
    """The model, the optimiser and the step of the function that is named; SpecError for anything else."""
    file, _, name = target.rpartition(":")
    path = Path(file).expanduser()
    if not (file.endswith(".py") and name.isidentifier()):
        raise SpecError(f"{target!r}: expected SCRIPT.py:FUNCTION, such as train.py:audited")
    if not path.is_file():
        raise SpecError(f"{file}: no such file")
    sys.path.insert(0, str(path.parent.absolute()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise SpecError(f"{file} has no function {name!r}; {PROTOCOL}")
    found = function()
    if not (isinstance(found, tuple) and len(found) == 3 and hasattr(found[0], "parameters") and callable(found[2])):
        raise SpecError(f"{target} returns {type(found).__name__}; {PROTOCOL}")
    return found
