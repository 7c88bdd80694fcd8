"""Does a sharpness penalty that is heavier for rare classes help where data have a long tail?"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.problems.datasets import describe
from sam_dash.problems.problem import class_shares
from sam_dash.results.claims import rule
from sam_dash.results.drawing import captions, cells
from sam_dash.results.experiments import dots, frames
from sam_dash.results.experiments.experiment import DATA, Experiment, Finding, Statement, decide
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.study import Study

ACCURACY, GAIN = "Test accuracy", "Difference from SAM in percentage points, paired by seed"
HEAD, MEDIUM, TAIL, ALL = "head", "medium", "tail", "all classes"


def thirds(classes: int) -> dict[str, list[int]]:
    """Classes 0 ... C-1, the most frequent first: the first 30 % are the head, the last 30 % the tail."""
    k = max(1, round(0.3 * classes))
    return {HEAD: [*range(k)], MEDIUM: [*range(k, classes - k)], TAIL: [*range(classes - k, classes)]}


def frame(study: Study) -> pd.DataFrame:
    """Mean accuracy over the classes of each group (classes count alike), and its difference from SAM's."""
    finals = study.finals[study.finals["m"].isna() | (study.finals["m"] == study.spec.training.batch)]
    finals = finals[finals["quantity"].str.startswith("test_acc@class=")]
    if finals.empty:
        return frames.frame([])
    finals = finals.assign(cls=finals["quantity"].str.removeprefix("test_acc@class=").astype(int))
    groups = {ALL: sorted(finals["cls"].unique()), **thirds(int(finals["cls"].max()) + 1)}
    lines: list[tuple[str, dict[str, Any], dict[str, dict[int, float]]]] = []
    looks = cells.of(study)
    for key, of in finals.groupby(["variant", "rho", "penalty"], dropna=False, sort=False):
        means = {g: _by_seed(of[of["cls"].isin(c)]) for g, c in groups.items()}
        lines.append((str(key[0]), looks[tables.records(of.head(1))[0]], means))
    sam = next((means for variant, _, means in lines if variant == "sam"), None)
    points = [
        frames.rows(ACCURACY, g, look["line"], variant, means[g], look=look)
        for variant, look, means in lines for g in groups
    ]  # fmt: skip
    if sam:
        points += [
            frames.rows(GAIN, g, look["line"], variant, statistics.difference(means[g], sam[g]), look=look)
            for variant, look, means in lines if means is not sam for g in groups
        ]  # fmt: skip
    return frames.frame(points)


def _by_seed(finals: pd.DataFrame) -> dict[int, float]:
    """Seed -> mean over the classes."""
    return {int(str(s)): float(v) for s, v in finals.groupby("seed")["value"].mean().items()}


def figure(frame: pd.DataFrame) -> go.Figure:
    """Accuracy by group, and the difference from SAM."""
    return dots.figure(frame, zero=(GAIN,), percent=True)


def caption(study: Study, frame: pd.DataFrame) -> str:
    """What is drawn."""
    p = study.spec.problem
    data = describe(p.dataset)
    n = p.n_train or data.n_train
    counts = [round(n / data.classes * s) for s in class_shares(p.imbalance, data.classes)]
    groups = thirds(data.classes)
    names = captions.listed(f"{g} = classes {c[0]} to {c[-1]}" for g, c in groups.items())
    return (
        f"{frames.means_over(frame)} {names}; classes count alike within a group. Training samples of the classes: "
        f"about {counts[0]} down to {counts[-1]}. {captions.setting(study.spec)}. {captions.excluded(study)}"
    )


def judge(frame: pd.DataFrame) -> list[Finding]:
    """Focal-SAM against SAM and SAM against SGD, on the tail."""
    out: list[Statement] = []
    gain = frame[(frame["panel"] == GAIN) & (frame["x"] == TAIL)]
    for line in dict.fromkeys(gain["line"]):
        variant = gain.loc[gain["line"] == line, "variant"].iloc[0]
        d = statistics.mean(frames.seeds(frame, GAIN, TAIL, line).values())
        d = -d if variant == "sgd" else d
        better, worse = ("SAM", "SGD") if variant == "sgd" else (line, "SAM")
        why = f"Tail accuracy, {better} less {worse}: {frames.points(d)}."
        out.append(Statement(f"{better} is more accurate than {worse} on the tail", rule.positive(d), why))
    return decide(out)


EXPERIMENT = Experiment(
    name="long-tail",
    title="Long tail",
    claim=(
        "Where classes have very unequal numbers of samples, **Focal-SAM**, whose sharpness penalty weighs rare "
        "classes more, generalises better than SAM, in particular on the rare (tail) classes."
    ),
    source=(
        "Li et al., *Focal-SAM: Focal Sharpness-Aware Minimization for Long-Tailed Classification*, ICML 2025, "
        "[arXiv:2505.01660](https://arxiv.org/abs/2505.01660)"
    ),
    preset="long-tail",
    rule=(
        "Mean test accuracy over the tail classes, differences taken within each seed. Supported if the 95 % "
        f"t-interval over seeds lies wholly above 0, not supported if wholly below 0. {rule.DECIDES}"
    ),
    limits=(
        "Digits are an easy problem: the head is near 100 % for every method, and the rarest class has about two "
        "training samples, so its accuracy depends on which two they are. One ρ and one focus for all; the paper "
        "tunes both and uses logit adjustment as its base loss on CIFAR-LT and ImageNet-LT, here it is the plain "
        "cross-entropy. The test set is balanced, so a tail class has about 80 test samples."
    ),
    data=DATA / "long-tail",
    frame=frame,
    figure=figure,
    caption=caption,
    judge=judge,
)
