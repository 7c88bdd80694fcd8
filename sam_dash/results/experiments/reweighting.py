"""Under label noise: does it help to weigh sharp samples more, or what SAM has shortened less?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.claims import rule
from sam_dash.results.drawing import captions
from sam_dash.results.experiments import dots, frames
from sam_dash.results.experiments.experiment import DATA, Experiment, Finding, Statement, decide
from sam_dash.results.numbers import collapse, statistics, tables
from sam_dash.results.numbers.statistics import Mean
from sam_dash.results.numbers.study import Study

ACCURACY, LENGTH, PRICE = "Test accuracy", "Less SAM, equal length", "Less SAM, equal gradients"
NONE = "no ρ"
UP, DOWN = ("rwsam", "deltasam"), "saner"
NEAR = 0.02  # prices that differ by less than this share are taken as equal

Cells = dict[tuple[str, str], dict[int, float]]  # (variant, ρ) -> seed -> accuracy


class Both(NamedTuple):
    """Accuracies of the runs that trained as long as SAM, and of those with as many gradient evaluations."""

    long: Cells
    priced: Cells


def frame(study: Study) -> pd.DataFrame:
    """Accuracy by ρ with as many gradient evaluations as SAM's, and differences from SAM at the same ρ."""
    long, priced = cells(study)
    lost = at_chance(study, long)
    points = [
        frames.rows(ACCURACY, rho, variants.get(v).title, v, by_seed) for (v, rho), by_seed in sorted(priced.items())
    ]
    for panel, of in ((LENGTH, long), (PRICE, priced)):
        points += [
            frames.rows(panel, rho, variants.get(v).title, v, statistics.difference(by_seed, of[("sam", rho)]))
            for (v, rho), by_seed in sorted(of.items())
            if v in (*UP, DOWN) and ("sam", rho) in of and rho not in lost
        ]
    return frames.frame(points)


def cells(study: Study) -> Both:
    """Accuracies at m = B of settings that did not collapse; `priced` has those with runs of SAM's price."""
    finals, runs = study.finals[study.finals["quantity"] == "test_acc"], study.runs
    if "epochs" not in finals:
        finals, runs = (of.assign(epochs=study.spec.training.epochs) for of in (finals, runs))
    for _, of in runs.groupby("epochs"):
        finals = collapse.without(finals, collapse.runs(finals, of, study.spec))
    finals = tables.at_full_batch(finals, study.spec.training.batch)
    epochs = finals.loc[finals["variant"] == "sam", "epochs"].max()
    long, priced = Cells(), Cells()
    for _, of in finals.groupby(["variant", "rho", "epochs"], dropna=False, sort=False):
        row = tables.records(of.head(1))[0]
        at = row["variant"], NONE if row["rho"] != row["rho"] else words.number(row["rho"])
        by_seed = frames.by_seed(of, "test_acc", {})
        if row["epochs"] == epochs:
            long[at] = by_seed
        if abs(row["epochs"] * price(row) / (2 * epochs) - 1) < NEAR:
            priced[at] = by_seed
    return Both(long, priced)


def at_chance(study: Study, of: Cells) -> dict[str, int]:
    """The ρ at which SAM is at chance in some seeds, and in how many: a difference from it says nothing."""
    guess = collapse.chance(study.spec)
    counts = {
        rho: sum(y <= guess.high for y in by_seed.values()) for (v, rho), by_seed in of.items() if v == "sam" and guess
    }
    return {rho: n for rho, n in counts.items() if n}


def price(row: Mapping[str, Any]) -> float:
    """Mini-batch gradients that a step of this run takes."""
    v = variants.get(row["variant"])
    return v.cost(**{k: row[k] if k in row and row[k] == row[k] else d for k, d in v.defaults().items()}).in_gradients(
        0
    )


def figure(frame: pd.DataFrame) -> go.Figure:
    """Accuracy, and the differences from SAM at the same ρ."""
    return dots.figure(frame, zero=(LENGTH, PRICE), percent=True)


def caption(study: Study, frame: pd.DataFrame) -> str:
    """What is drawn."""
    lost = "".join(
        f"At ρ = {rho} SAM is at chance in {n} seed{'s' * (n > 1)}, and differences from it are left out. "
        for rho, n in at_chance(study, cells(study).long).items()
    )
    return (
        "Test accuracy by ρ, of runs with as many mini-batch gradient evaluations as SAM's (within 2 %; a forward is a "
        "third of one), for which RW-SAM and delta-SAM train for fewer epochs and SGD for more; beside it differences "
        "from SAM of the same seed and ρ, in percentage points, over equally many epochs and at this price. All "
        f"perturbations have the length ρ. Collapsed settings are left out. {lost}{frames.means_over(frame)} "
        f"{captions.setting(study.spec)}. "
        f"{captions.excluded(study)}"
    )


def judge(frame: pd.DataFrame) -> list[Finding]:
    """Each against SAM at every ρ, at equal length and at equal price; at the best ρ of each, pairs of them."""
    out: list[Statement] = []
    for panel, at in ((LENGTH, "at equal length"), (PRICE, "at as many gradient evaluations")):
        for v in (*UP, DOWN):
            by_rho = {rho: statistics.mean(y.values()) for rho, y in _places(frame, panel, v).items()}
            if by_rho and (panel == LENGTH or v != DOWN):  # SANER's price is SAM's: once
                test = rule.every([rule.positive(d) for d in by_rho.values()], len(by_rho))
                why = "; ".join(f"ρ = {rho}: {frames.points(d)}" for rho, d in by_rho.items())
                out.append(
                    Statement(f"{variants.get(v).title} is more accurate than SAM {at}, at every ρ", test, f"{why}.")
                )
    for a, b in [*((v, DOWN) for v in UP), *((v, "sam") for v in (*UP, DOWN)), ("sam", "sgd")]:
        out += _best(_places(frame, ACCURACY, a), _places(frame, ACCURACY, b), a, b)
    return decide(out)


def _places(frame: pd.DataFrame, panel: str, variant: str) -> dict[str, dict[int, float]]:
    """ρ -> seed -> value."""
    of = frame[(frame["panel"] == panel) & (frame["variant"] == variant) & (frame["kind"] == "seed")]
    return {
        str(x): {int(s): float(y) for s, y in zip(r["seed"], r["y"], strict=True)}
        for x, r in of.groupby("x", sort=False)
    }


def _best(
    a: Mapping[str, dict[int, float]], b: Mapping[str, dict[int, float]], first: str, second: str
) -> list[Statement]:
    """The first at its best ρ against the second at its own; both choices are paid for."""
    if not a or not b:
        return []
    (x, left), (y, right) = (max(side.items(), key=lambda item: _mean(item[1])) for side in (a, b))
    d: Mean = statistics.paired(left, right)
    names = [variants.get(v).title for v in (first, second)]
    at = [name if rho == NONE else f"{name} at ρ = {rho}" for name, rho in zip(names, (x, y), strict=True)]
    says = f"{names[0]} is more accurate than {names[1]}, each at its best ρ, at as many gradient evaluations"
    return [Statement(says, rule.positive(d, len(a) * len(b)), f"{at[0]} less {at[1]}: {frames.points(d)}.")]


def _mean(by_seed: Mapping[int, float]) -> float:
    return sum(by_seed.values()) / len(by_seed)


EXPERIMENT = Experiment(
    name="reweighting",
    title="Weigh more, or less",
    claim=(
        "Two papers explain gains under label noise by opposite weights. **RW-SAM**, and before it **delta-SAM**, "
        "weighs samples with large or fast changing gradients **more** in the perturbation, and is reported to beat "
        "SAM at every level of label noise. **SANER** finds SAM robust because it **down-weights** the gradients of "
        "noisy samples, and goes further in that direction. Which of them helps here?"
    ),
    source=(
        "Luo et al., *Unveiling m-Sharpness*, NeurIPS 2025, [arXiv:2509.18001](https://arxiv.org/abs/2509.18001), "
        "table 4; Zhou et al., *Sharpness-Aware Minimization with Dynamic Reweighting*, 2022, "
        "[arXiv:2112.08772](https://arxiv.org/abs/2112.08772), here as we read it; Luong et al., *Understanding SAM's "
        "Robustness to Noisy Labels*, AISTATS 2026, [arXiv:2411.17132](https://arxiv.org/abs/2411.17132). The "
        "comparison is ours."
    ),
    preset="reweighting",
    rule=(
        "Final test accuracy, differences taken within each seed. “At every ρ” (but those at which SAM is at chance in "
        "some seeds) is supported if the 95 % t-interval lies wholly above 0 at each, not supported if it lies wholly "
        "below 0 at one, counted as the smallest of so many. “At its best ρ” takes the ρ of the highest "
        "mean accuracy of either, and multiplies p by the number of "
        f"pairs there were to choose from. {rule.DECIDES}"
    ),
    limits=(
        "One small perceptron on one data set with uniformly wrong labels. RW-SAM at λ = 0.5, delta-SAM in "
        "proportion, SANER at α = 0.5, none tuned; RW-SAM's published λ is not known to us, and delta-SAM is our "
        "reading. SANER's authors raise α over the first 50 epochs, it is constant here; its steps are also shorter, "
        "and what a lower learning rate alone would give was not tried. Fewer epochs memorise fewer wrong labels, so "
        "that at equal gradients a dearer method gains by stopping sooner. SGD stopped early is a rival that is not "
        "drawn: docs/LOG.md has its numbers. The best ρ is chosen on the test data that it is judged on, for all alike."
    ),
    data=DATA / "reweighting",
    frame=frame,
    figure=figure,
    caption=caption,
    judge=judge,
)
