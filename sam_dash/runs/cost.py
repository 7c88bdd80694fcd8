"""What a sweep costs, before it is run: gradients, and seconds from a linear model. Torch-free.

    seconds of a stack = sum_k COEFFICIENTS[k] * features(spec, S)[k]

times the range of the machine's own factor (`Store.speed`). The coefficients are fitted to stacks of the presets, by

    python -m benchmarks.calibrate
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sam_dash import variants
from sam_dash.problems.architecture import parse, size
from sam_dash.problems.problem import class_shares, source_classes, trained_on
from sam_dash.runs.measure import POINTS
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.report import FINISHED
from sam_dash.runs.spec import STACKED, Problem, RunSpec, SpecError, SweepSpec, from_dict

FEATURES = ("passes", "runs in a pass", "passes one by one", "multiply-adds", "floats", "looks", "stacks")
COEFFICIENTS = (1.7e-4, 4.1e-6, 3.0e-4, 3.5e-11, 4.1e-10, 5.5e-4, 0.047)
"""Seconds per unit of each feature: CPU time on one core of an idle 2-core EPYC, by `python -m benchmarks.calibrate`,
which also finds what each measurement takes (`sam_dash.runs.measures`).
"""

DEARER = {"vit": 7, "transformer": 7, "resnet18": 3}
"""How many of the others' multiply-adds one of these networks' takes the time of: small products, norms, softmax, GELU.
"""
SMOOTH_FILE = 3  # the same of a problem file's network that is not piecewise linear: between those

STACK_FLOATS = 2**27  # what the runs of one stack may take in memory: 512 MB in float32
EPOCHS_BEFORE = {"memorised": 150, "pretrained": 20}  # of SGD, before the run proper


class Speed(NamedTuple):
    """How this machine compares with the one that `COEFFICIENTS` are of, as seconds taken / predicted: from `low` to
    `high` in eight of ten cases; and the least and the most seconds until a new engine trains.
    """

    low: float
    high: float
    start: tuple[float, float]


UNKNOWN = Speed(0.8, 5.0, (4.0, 25.0))
"""The speed of a machine on which no run has finished. Workers that share cores are in it: two of one core each
took 1.5 to 2.3 times what was predicted (docs/LOG.md).
"""


def speed(ratios: Sequence[tuple[float, float, str]], start: float | None) -> Speed:
    """A machine's speed from its finished runs: seconds taken / predicted, seconds predicted, and group of each.

    The middle 80 % of the ratios, each counted by its predicted seconds, as short runs say little of long ones; wider
    by 1/sqrt(n), n the groups, as runs of a stack share their time. `start`: seconds that the last engine took.
    """
    begins = UNKNOWN.start if start is None else (0.7 * start, 2 * start)
    if not ratios:
        return UNKNOWN._replace(start=begins)
    found = sorted(ratios)
    share = np.cumsum([predicted for _, predicted, _ in found])
    low, high = (found[int(np.searchsorted(share, q * share[-1]))][0] for q in (0.1, 0.9))
    wider = 1 + len({group for _, _, group in found}) ** -0.5
    return Speed(low / wider, high * wider, begins)


@dataclass(frozen=True)
class Preview:
    """Runs in all and finished already; of the rest, mini-batch gradients, and the range of seconds that they take on
    so many workers here, the start of an engine included (at the low end only where one has to be started).
    """

    total: int
    cached: int
    grad_evals: float
    low: float
    high: float

    @property
    def time(self) -> str:
        """The range in words; "nothing" where nothing is left."""
        return span(self.low, self.high) if self.high else "nothing"


def preview(
    sweeps: SweepSpec | Iterable[SweepSpec], statuses: Mapping[str, str], workers: int = 1, speed: Speed = UNKNOWN,
    *, cold: bool = True,
) -> Preview:  # fmt: skip
    """What is left of one or several sweeps, given the statuses of runs in the store; SpecError if one cannot train.

    `cold`: an engine has to be started for it; else one may be at work already.
    """
    of = [sweeps] if isinstance(sweeps, SweepSpec) else sweeps
    specs = list({spec.key: spec for sweep in of for spec in sweep.runs()}.values())
    left = [spec for spec in specs if statuses.get(spec.key) not in FINISHED]
    if not left:
        return Preview(len(specs), len(specs), 0.0, 0.0, 0.0)
    stacks = [seconds(group[0], len(group)) for group in groups(left).values()]
    wall = max(sum(stacks) / workers, max(stacks) / max(1, workers // len(stacks)))
    low, high = (speed.start[0] if cold else 0.0) + speed.low * wall, speed.start[1] + speed.high * wall
    return Preview(len(specs), len(specs) - len(left), sum(map(gradients, left)), low, high)


def span(low: float, high: float) -> str:
    """A range of seconds in steps of 5 s, a minute or half an hour, rounded outwards: "30 s to 1 min"."""
    first, last = _rounded(low, math.floor), _rounded(high, math.ceil)
    return first if first == last else f"{first} to {last}"


def _rounded(seconds: float, rounding: Callable[[float], int]) -> str:
    for step, most, unit in ((5, 60, 1), (60, 5400, 60)):
        value = max(1, rounding(seconds / step)) * step
        if value < most:
            return f"{value // unit} {'s' if unit == 1 else 'min'}"
    return f"{max(2, rounding(seconds / 1800)) / 2:g} h"


def groups(specs: Iterable[RunSpec]) -> dict[str, list[RunSpec]]:
    """Runs by group: those that train in one stack."""
    out: dict[object, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        fixed = tuple((k, v) for k, v in spec.knobs.items() if k not in STACKED)
        same = spec.variant, spec.m, fixed, spec.problem, spec.training, spec.measures
        out[same].append(spec)
    return {group[0].group: group for group in out.values()}  # one hash a group, not one a run


def largest_stack(spec: RunSpec) -> int:
    """How many such runs train at once within `STACK_FLOATS`, at least one."""
    return max(1, int(STACK_FLOATS / floats(spec)))


def floats(spec: RunSpec) -> int:
    """Numbers that a run takes in memory while it trains, an estimate by count of tensors: 10 times its parameters and
    6 times what its layers put out for one batch; of a full-data gradient for all samples.
    """
    n, _ = samples(spec)
    d, _ = _size(spec.problem)
    outputs = sum(widths(spec.problem))  # other networks train one run after another
    return 10 * d + 6 * outputs * (n if spec.cost().full else spec.training.batch)


def gradients(spec: RunSpec) -> float:
    """Mini-batch gradients that training takes, without measurements."""
    n, _ = samples(spec)
    per_step: float = spec.cost().in_gradients(n / spec.training.batch)
    return steps(spec) * per_step + _steps_before(spec)


def steps(spec: RunSpec) -> int:
    """Steps T of a run; SpecError if the training set holds less than one batch."""
    n, B = samples(spec)[0], spec.training.batch
    if n < B:
        raise SpecError(f"batch = {B} is larger than the training set of {n} samples")
    return spec.training.epochs * (n // B)


def samples(spec: RunSpec) -> tuple[int, int]:
    """Training samples N of the run proper, and test samples."""
    data = spec.problem.data
    n = min(spec.problem.n_train or data.n_train, data.n_train)
    if spec.problem.imbalance != 1:
        n = round(n * sum(class_shares(spec.problem.imbalance, data.classes)) / data.classes)
    n_test = (
        trained_on(data.n_test, spec.problem.start, data.classes) if spec.problem.start == "pretrained" else data.n_test
    )
    return trained_on(n, spec.problem.start, data.classes), n_test


def features(spec: RunSpec, S: int) -> tuple[float, ...]:
    """What a stack of S such runs takes, in the order of `FEATURES`."""
    n, n_test = samples(spec)
    B, T, per = spec.training.batch, steps(spec), spec.cost()
    d, work = _size(spec.problem)
    work *= dearer(spec.problem)
    passes = per.in_gradients(n / B)
    before = _steps_before(spec)
    looks = spec.training.epochs + 1
    every = spec.measures.every
    often = 1 if not every else spec.training.epochs // every + 2
    times = {q: 1 if MEASURES[q].once else often for q in spec.measures.what}
    measured = sum(times[q] * MEASURES[q].price(smooth(spec.problem)) for q in times) * min(n, POINTS)
    own = T * (2 + per.gradients + per.forwards + per.backwards + per.products)
    perceptron = bool(widths(spec.problem))
    chained = variants.get(spec.variant).in_one_pass(spec.m, B)
    together = (own if perceptron and chained else 0) + (3 * before if perceptron else 0)
    return (
        together,
        S * together,
        S * (own + 3 * before) - S * together,
        S * 3 * work * (B * (T * passes + before) + measured) + S * looks * (n + n_test) * work,
        S * (T * (_floats(spec) * passes + 4 * d) + before * 5 * d),
        S * (looks + sum(times.values())),
        1.0,
    )


def _floats(spec: RunSpec) -> int:
    """Numbers in the gradients of a step's micro-batches; a perceptron's are kept as inputs and deltas where those are
    fewer (`maths.chain_parts`).
    """
    B = spec.training.batch
    G = B // spec.m if spec.m else 1
    hidden = widths(spec.problem)
    if G == 1 or not hidden:
        return G * _size(spec.problem)[0]
    data = spec.problem.data
    pairs = itertools.pairwise((math.prod(data.shape), *hidden, data.outputs))
    return sum(min(G * a * b, B * (a + b)) for a, b in pairs)


def seconds(spec: RunSpec, S: int) -> float:
    """Predicted seconds of a stack of S such runs."""
    return float(np.dot(COEFFICIENTS, features(spec, S)))


def _steps_before(spec: RunSpec) -> int:
    start, data = spec.problem.start, spec.problem.data
    if start == "init":
        return 0
    n = 2 * samples(spec)[0] if start == "memorised" else data.n_train * source_classes(data.classes) // data.classes
    return EPOCHS_BEFORE[start] * (n // spec.training.batch)


def widths(problem: Problem) -> tuple[int, ...]:
    """The hidden widths of a perceptron, whose runs train and are measured together; () for another network."""
    if problem.is_file:
        return problem.card.widths if problem.card else ()
    family, found = parse(problem.network)
    return found if family == "mlp" else ()


def smooth(problem: Problem) -> bool:
    """Whether the outputs are not piecewise linear in the weights, so that H is not the Gauss-Newton matrix."""
    if problem.is_file:
        return problem.card is not None and problem.card.smooth
    return parse(problem.network).family not in ("mlp", "cnn")


def dearer(problem: Problem) -> int:
    """How many multiply-adds of a perceptron or a CNN one of this network takes the time of."""
    if problem.is_file:
        return SMOOTH_FILE if smooth(problem) else 1
    return DEARER.get(parse(problem.network).family, 1)


def multiply_adds(problem: Problem) -> int:
    """Multiply-adds of one sample's forward pass."""
    return _size(problem)[1]


def _size(problem: Problem) -> tuple[int, int]:
    data = problem.data
    if problem.card:
        return problem.card.parameters, problem.card.work
    return size(problem.network, data.shape, data.outputs, data.vocabulary)


def duration(seconds: float) -> str:
    """ "40 s", "3 min" or "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def calibrate(rows: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """Coefficients (K,) >= 0 that fit the seconds of finished runs best, in relative error."""
    from scipy.optimize import nnls

    done = [row for row in rows if row["status"] == "done"]
    X = np.array([features(from_dict(RunSpec, r["spec"]), r["stack"]) for r in done])
    took = np.array([r["seconds"] * r["stack"] for r in done])
    return np.asarray(nnls(X / took[:, None], np.ones(len(done)))[0])
