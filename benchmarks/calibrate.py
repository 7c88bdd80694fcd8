"""Fit `cost.COEFFICIENTS` to stacks trained here on one thread: `python -m benchmarks.calibrate`, about three minutes.

It counts the CPU time of this process, so that other work on the machine matters less than it does to wall time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from sam_dash.runs import cost
from sam_dash.runs.presets import PRESETS
from sam_dash.runs.spec import Measures, RunSpec
from sam_dash.runs.train import train


def stacks() -> Iterator[list[RunSpec]]:
    """Stacks of several presets: short and long, one seed and several, with all measures, some and none."""
    lengths = {"digits": 50, "label-noise": 20, "mnist-cnn": 4, "escape": 16}
    lengths |= {"long-tail": 50, "fine-tuning": 10, "heavy-tails": 30}
    for name, epochs in lengths.items():
        sweep = PRESETS[name].sweep
        groups = list(cost.groups(sweep.runs()).values())
        for i, group in enumerate(groups if name in ("digits", "heavy-tails") else groups[::3]):
            spec = group[0]
            what = [("trace", "lam_max", "noise"), (), ("lam_max",), ("trace", "noise"), ("density",)][i % 5]
            training = replace(spec.training, epochs=epochs)
            for seeds in (1, 3) if name != "mnist-cnn" else (1,):
                specs = [replace(spec, seed=s, training=training, measures=Measures(what=what)) for s in range(seeds)]
                yield specs


def main() -> None:
    """Print the fit and how far off it is."""
    torch.set_num_threads(1)
    rows, warm = [], False
    for specs in stacks():
        if not warm:
            train(specs[:1], lambda _: set(), "cpu")
            warm = True
        started = time.process_time()
        train(specs, lambda _: set(), "cpu")
        took = time.process_time() - started
        rows.append({"status": "done", "spec": specs[0].to_dict(), "stack": len(specs), "seconds": took / len(specs)})
    fitted = cost.calibrate(rows)
    took = np.array([row["seconds"] * row["stack"] for row in rows])
    found = np.array([cost.features(RunSpec(**row["spec"]), row["stack"]) @ fitted for row in rows])
    print("COEFFICIENTS =", tuple(float(f"{c:.2g}") for c in fitted))
    low, middle, high = np.quantile(found / took, (0, 0.5, 1))
    print(f"{len(rows)} stacks, {took.sum():.0f} s; predicted / taken: {low:.2f} to {high:.2f}, median {middle:.2f}")


if __name__ == "__main__":
    main()
