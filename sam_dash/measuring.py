"""`python -m sam_dash measure`: the sharpness of some weights on a problem as a table, its price first."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sam_dash.problems.listing import allow
from sam_dash.problems.problem import Problem, SpecError
from sam_dash.runs import cost
from sam_dash.runs.looks import FILE, RUN, SPLITS
from sam_dash.runs.plain import finite

USUAL = "tr_H,lam_max"
SHORT, LEAST = 0.1, 64  # seconds that a product has to take, on so many samples, for the price to be found by it
OPTIONS = (
    ("--weights", {"metavar": "FILE", "help": ".safetensors, or .pt (read without running code): a state_dict"}),
    ("--what", {"default": USUAL, "metavar": "Q,...", "help": f"quantities of docs/measure.md (default: {USUAL})"}),
    ("--params", {"metavar": "PART,...", "help": "only the parameters whose names begin so, such as head"}),
    ("--dataset", {"metavar": "NAME", "help": "a built-in data set, where no problem file and no run is given"}),
    ("--network", {"metavar": "NAME", "help": "its network, such as mlp:64"}),
    ("--m", {"default": "1,8,64", "metavar": "M,...", "help": "micro-batch sizes of m_sharp, batch_sharp, tr_V"}),
    ("--rho", {"type": float, "default": 0.05, "help": "radius of m_sharp (default: 0.05)"}),
    ("--split", {"choices": SPLITS, "default": "train", "help": "samples measured on (default: train)"}),
    (
        "--samples",
        {"type": int, "default": 2000, "metavar": "N", "help": "the first N (default: 2000; 0: all)"},
    ),
    ("--probes", {"type": int, "default": 128, "help": "of Hutchinson's estimate (default: 128)"}),
    ("--iterations", {"type": int, "default": 100, "help": "of Lanczos, at most (default: 100)"}),
    ("--seed", {"type": int, "default": 0, "help": "of probes, starts, and a problem's noisy labels (default: 0)"}),
    ("--json", {"action": "store_true", "help": "the table as JSON on standard output"}),
)


def add_options(command: argparse.ArgumentParser) -> None:
    """The target and the options of `measure`."""
    described(command, *(name for name, _ in OPTIONS))


def described(command: argparse.ArgumentParser, *names: str) -> None:
    """The target, and those of the options."""
    about = "a problem file, or the key of a run of the store (its weights, unless --weights are given)"
    command.add_argument("target", nargs="?", metavar="PROBLEM.py|RUN", help=about)
    command.add_argument("--store", metavar="URL", help="of the run (default: SAM_DASH_STORE)")
    for name, options in OPTIONS:
        if name in names:
            command.add_argument(name, **options)


def weighted(args: argparse.Namespace, needed: bool = True) -> tuple[Any, Any]:
    """What is measured on with its weights in it, of which the chosen part is trained, and its samples (x, y)."""
    from sam_dash.problems import weights
    from sam_dash.runs.look_work import put

    subject, run = _subject(args)
    if args.weights or run:
        put(subject.module, f"{FILE}{args.weights}" if args.weights else f"{RUN}{run}", args.store)
    elif needed:
        raise SpecError("no weights: pass --weights FILE, or the key of a run of the store")
    if args.params:
        weights.only(subject.module, args.params.split(","))
    return subject, subject.samples(args.split, args.samples)


def measure(args: argparse.Namespace) -> int:
    """Measure and print; the exit code."""
    from sam_dash import api
    from sam_dash.maths.flat import flatten, logits
    from sam_dash.maths.landscape import Around

    what = tuple(filter(None, args.what.split(",")))
    subject, (x, y) = weighted(args)
    d = sum(p.numel() for p in subject.module.parameters() if p.requires_grad)
    _say(f"{subject.name}: {d:,} parameters, the first {len(y)} {args.split} samples")
    bar = _Bar()
    m = _whole(args.m) if any(q in ("m_sharp", "batch_sharp", "tr_V") for q in what) else ()
    common: dict[str, Any] = {"loss": subject.loss, "m": m, "probes": args.probes, "iterations": args.iterations}
    try:
        _say(_price(subject, (x, y), what, common, api))
        found = api.measure(subject.module, x, y, what, **common, rho=args.rho, seed=args.seed, progress=bar)
        here = Around(logits(subject.module), subject.loss, flatten(subject.module), (x, y), subject.score)
        point = here.at(here.w)
    finally:
        bar.close()
    scores = {"loss": {"value": point.loss, "stderr": point.stderr, "method": "mean over samples", "budget": len(y)}}
    if subject.score and math.isfinite(point.score):
        spread = point.score * (1 - point.score) / len(y) if subject.score.key == "acc" else 0.0
        error = math.sqrt(spread) if spread > 0 else math.nan  # all right, or all wrong: the samples tell no error
        scores[subject.score.key] = {"value": point.score, "stderr": error, "method": "over samples", "budget": len(y)}
    rows = scores | {q: asdict(e) for q, e in found.items()}
    if args.json:
        about = {"problem": subject.name, "weights": args.weights or f"{RUN}{args.target}", "parameters": d,
                 "split": args.split, "samples": len(y), "params": args.params}  # fmt: skip
        print(json.dumps({**about, "quantities": {q: finite(row) for q, row in rows.items()}}, indent=1))
    else:
        print("\n".join(table(rows)))
    loose = [q for q, e in found.items() if not e.converged]
    if loose:
        _say(f"not converged: {', '.join(loose)}; more --iterations")
    return 0


def table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of aligned columns: value, error, whether it converged, budget and method of each quantity."""
    cells = [("quantity", "value", "error", "converged", "budget", "method")]
    for q, row in rows.items():
        error = "-" if math.isnan(row["stderr"]) else f"{row['stderr']:.2g}" if row["stderr"] else "exact"
        good = "yes" if row.get("converged", True) else "NO"
        cells.append((q, f"{row['value']:.6g}", error, good, str(row["budget"]), row["method"]))
    return aligned(cells)


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, in columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells]


def _subject(args: argparse.Namespace) -> tuple[Any, str]:
    """What is measured on, and the key of the run or ""."""
    from sam_dash.problems.running import limited
    from sam_dash.problems.subject import of_file, of_problem
    from sam_dash.runs.spec import RunSpec, from_dict
    from sam_dash.runs.store import Store

    target = args.target
    if target is None:
        if not (args.dataset and args.network):
            raise SpecError("nothing to measure on: give a problem file, a run's key, or --dataset and --network")
        return of_problem(Problem(dataset=args.dataset, network=args.network), args.seed), ""
    if args.dataset or args.network:
        raise SpecError(f"{target!r} and --dataset or --network: expected one or the other")
    if target.endswith(".py"):
        allow(Path(target).expanduser().absolute())  # its user has named it
        with limited():
            return of_file(target, args.seed), ""
    with closing(Store(args.store)) as store:
        run = store.run(target)
    if run is None:
        raise SpecError(f"{target!r} is neither a problem file (.py) nor a run of this store")
    spec = from_dict(RunSpec, run["spec"])
    return of_problem(spec.problem, spec.seed), target


def _price(subject: Any, batch: Any, what: Sequence[str], common: Mapping[str, Any], api: Any) -> str:
    """What the quantities take, in words, from the time of one product on a few samples."""
    import torch

    from sam_dash.maths.fast.lean import Lean, signs
    from sam_dash.maths.kept import kept

    x, y = batch
    n, took = 0, 0.0
    while n < len(y) and (took < SHORT or n < LEAST):
        n = min(4 * n or 2, len(y))  # the first, on two samples, is slow and counts for nothing
        product = Lean(subject.module, subject.loss, (x[:n], y[:n]))
        v, into = signs(product.empty(), torch.Generator().manual_seed(0)), product.empty().zero_()
        start = time.perf_counter()
        with kept(subject.module):
            product.add(v, into)
        took = 0.0 if n == 2 < len(y) else time.perf_counter() - start
    each = took * len(y) / n
    products, gradients = api.price(subject.module, x, y, what, **common)
    low, high = each * (0.2 * products + 0.1 * gradients), each * (1.2 * products + 0.5 * gradients)
    told = f"at most {products} Hessian-vector products of about {_seconds(each)}" if products else "no product"
    return f"{told}: {cost.span(low, high)}"


def _seconds(seconds: float) -> str:
    """Seconds in words, milliseconds below one."""
    return f"{1000 * seconds:.2g} ms" if seconds < 1 else f"{seconds:.2g} s"


def _whole(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SpecError(f"--m {text!r}: expected whole numbers, such as 1,8,64") from None
    if any(m < 1 for m in found):
        raise SpecError(f"--m {text!r}: expected numbers of at least 1")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _Bar:
    """Progress on one line of a terminal; on anything else a line every ten seconds."""

    def __init__(self) -> None:
        self.terminal, self.began, self.last, self.wrote = sys.stderr.isatty(), 0.0, time.monotonic(), False

    def __call__(self, quantity: str, done: int, most: int) -> None:
        """A product of a quantity is done."""
        now = time.monotonic()
        self.began = now if not done else self.began
        if now - self.last < (0.1 if self.terminal else 10) and done:
            return
        if not self.terminal and not done:
            return
        self.last, self.wrote = now, True
        left = f", at most {cost.duration((now - self.began) * (most - done) / done)} left" if done and most else ""
        text = f"{quantity}: {done} of {most} products{left}" if most else f"{quantity}: ..."
        start, end = ("\r\x1b[K", "") if self.terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        if self.terminal and self.wrote:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
