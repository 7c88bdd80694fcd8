"""Fit `cost.COEFFICIENTS` and the prices of measurements to stacks trained on one thread: `benchmarks.calibrate`.

It prints what to put in `sam_dash/runs/cost.py` and in the files of `sam_dash/runs/measures/`; two minutes on an idle
machine. It counts the CPU time of this process, so that other work on the machine matters less than to wall time.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from sam_dash.problems.stack import stack
from sam_dash.runs import cost, probes
from sam_dash.runs.measure import POINTS
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.presets import PRESETS
from sam_dash.runs.spec import Measures, Problem, RunSpec, Training
from sam_dash.runs.train import train

EPOCHS = {
    "digits": 25, "mnist-cnn": 2, "escape": 10, "long-tail": 25, "fine-tuning": 8, "heavy-tails": 20,
    "overparameterisation": 6,
}  # fmt: skip
MEASURED = ("mlp:64", "mlp:512", "cnn:12")  # networks that measurements are priced on


def stacks() -> Iterator[list[RunSpec]]:
    """Stacks of several presets without measurements: short and long, narrow and wide, one run and many."""
    for name, epochs in EPOCHS.items():
        groups = list(cost.groups(PRESETS[name].sweep.runs()).values())
        every = {"digits": 1, "heavy-tails": 1, "overparameterisation": 5}.get(name, 3)
        for group in groups[::every]:
            training = replace(group[0].training, epochs=epochs)
            of = [replace(spec, training=training, measures=Measures(what=())) for spec in group]
            for size in sorted({1, len(of)}) if name != "mnist-cnn" else (1,):
                yield of[:size]


def fit() -> np.ndarray:
    """The coefficients; prints how far off they are."""
    rows, warm = [], set()
    for specs in stacks():
        network = specs[0].problem.network
        if network not in warm:  # the first convolution of a process takes half a second
            warm.add(network)
            train([replace(specs[0], training=replace(specs[0].training, epochs=1))], lambda _: set(), "cpu")
        took = _cpu(lambda specs=specs: train(specs, lambda _: set(), "cpu"))  # type: ignore[misc]
        rows.append({"status": "done", "spec": specs[0].to_dict(), "stack": len(specs), "seconds": took / len(specs)})
    fitted = cost.calibrate(rows)
    took = np.array([row["seconds"] * row["stack"] for row in rows])
    found = np.array([cost.features(RunSpec(**row["spec"]), row["stack"]) @ fitted for row in rows])
    low, middle, high = np.quantile(found / took, (0, 0.5, 1))
    print(f"# {len(rows)} stacks, {took.sum():.0f} s; predicted / taken: {low:.2f} to {high:.2f}, median {middle:.2f}")
    return fitted


def prices(second: float) -> dict[str, float]:
    """What each measurement takes, in gradients of three forwards at `second` a multiply-add: geometric mean over the
    networks, after an epoch of training.
    """
    found: dict[str, list[float]] = {what: [] for what in MEASURES}
    for network in MEASURED:
        data = Problem(dataset="mnist-5k", n_train=1000) if "cnn" in network else Problem(dataset="digits")
        problem = replace(data, network=network)
        spec = RunSpec(variant="sgd", problem=problem, training=Training(epochs=1), measures=Measures(what=()))
        weights = train([spec], lambda _: set(), "cpu")[0].weights
        P, W = stack(problem, (0,), torch.device("cpu")), torch.tensor(weights)[None]
        n, work = min(P.n, POINTS), cost.multiply_adds(problem)
        for what, ratios in found.items():
            if what != "weight_tail":  # comes with the steps
                asked = replace(spec, measures=Measures(what=(what,)))
                took = _cpu(lambda asked=asked, P=P, W=W: list(probes.measure(P, [0], W, asked)))  # type: ignore[misc]
                ratios.append(took / (second * n * 3 * work))
    return {what: float(np.exp(np.mean(np.log(ratios)))) if ratios else 0.0 for what, ratios in found.items()}


def _cpu(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def main() -> None:
    """Print both."""
    warnings.filterwarnings("ignore")  # PyHessian's
    torch.set_num_threads(1)
    fitted = fit()
    print("COEFFICIENTS =", tuple(float(f"{c:.2g}") for c in fitted))
    second = fitted[cost.FEATURES.index("multiply-adds")]
    print("PRICES =", {what: float(f"{price:.2g}") for what, price in prices(second).items()})


if __name__ == "__main__":
    main()
