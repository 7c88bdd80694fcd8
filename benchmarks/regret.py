"""What a decision has lost against the whole grid: `python -m benchmarks.regret TARGET ANSWER.json`.

Both are those of `python -m sam_dash decide TARGET --json > ANSWER.json`. Every setting of both families is trained on
fresh seeds. The best of each by half of these is compared, on the other half, with what the decision leads with.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from sam_dash import deciding
from sam_dash.decide import arms
from sam_dash.decide.rule import EXPLORED
from sam_dash.results.numbers import statistics
from sam_dash.runs.environment import default_workers
from sam_dash.runs.store import Store

FIRST = 10_000  # of the fresh seeds


def best(scores: Mapping[str, Mapping[int, float]], seeds: Sequence[int]) -> str:
    """The setting of the best mean score over these seeds; one that collapsed in any is none."""
    means = {name: float(np.mean([of[s] for s in seeds])) for name, of in scores.items()}
    return max((name for name, mean in means.items() if math.isfinite(mean)), key=means.__getitem__)


def told(a: Mapping[int, float], b: Mapping[int, float], seeds: Sequence[int]) -> str:
    """The mean of a - b by seed with its 95 % interval."""
    found = statistics.paired({s: a[s] for s in seeds}, {s: b[s] for s in seeds})
    return f"{found.mean:+.4f} [{found.low:.4f}, {found.high:.4f}]"


def main() -> None:
    """Print the true gain as far as these seeds know it, and the regret of either choice."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("answer", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--store")
    args = parser.parse_args()
    answer = json.loads(args.answer.read_text(encoding="utf-8"))
    sweep = deciding.started_from(args.target)
    base = arms.of_base(replace(sweep.training, optimiser="sgd"))
    sam = arms.of_sam(base[answer["rungs"]["base"][-1]["kept"][0]])
    with closing(Store(args.store)) as store:
        runs = deciding.Runs(store, sweep.problem, default_workers(), FIRST, math.inf, math.inf, base | sam)
        choosing, judging = range(args.seeds // 2), range(EXPLORED, EXPLORED + args.seeds // 2)
        known = [runs([*base, *sam], seeds) for seeds in (choosing, judging)]  # epochs are chosen on the first
    scores = {name: {**known[0][name], **known[1][name]} for name in known[0]}
    picked = {family: answer["leading"][family] for family in ("base", "sam")}
    grid = {family: best({k: scores[k] for k in of}, choosing) for family, of in (("base", base), ("sam", sam))}
    print(f"{args.seeds} fresh seeds, half to choose and half to judge; larger is better")
    print(f"grid: {grid['sam']} over {grid['base']}: {told(scores[grid['sam']], scores[grid['base']], judging)}")
    claimed = told(scores[picked["sam"]], scores[picked["base"]], judging)
    print(f"decided: {picked['sam']} over {picked['base']}: {claimed}")
    for family in ("sam", "base"):
        regret = told(scores[grid[family]], scores[picked[family]], judging)
        print(f"regret of {family}, {picked[family]}: {regret}")


if __name__ == "__main__":
    main()
