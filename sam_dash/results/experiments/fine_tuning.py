"""Fine-tuning with layers that are sampled: does it keep SAM's accuracy at a part of SAM's gradients?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.claims import rule
from sam_dash.results.claims.claim import POINTS
from sam_dash.results.drawing import captions, cells
from sam_dash.results.experiments import dots, frames
from sam_dash.results.experiments.experiment import DATA, Experiment, Finding, Statement, decide
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.statistics import Mean
from sam_dash.results.numbers.study import Study

PANEL = "Test accuracy of the new classes"
FULL = {"sgd": 1.0, "sam": 2.0}  # whole gradients of a step


def frame(study: Study) -> pd.DataFrame:
    """Final test accuracy of each method at its price: gradients of layers that a step takes, in whole gradients."""
    finals = tables.at_full_batch(study.finals, study.spec.training.batch)
    points, looks = [], cells.of(study)
    for (variant, _), of in finals.groupby(["variant", "keep"], dropna=False, sort=False):
        look = looks[tables.records(of.head(1))[0]]
        active = statistics.mean(frames.by_seed(of, "active", {}).values()).mean
        price = FULL.get(str(variant), 2 * active)
        points.append(
            frames.rows(PANEL, price, look["line"], str(variant), frames.by_seed(of, "test_acc", {}), look=look)
        )
    return frames.frame(p for p in points if p and p[0]["x"] == p[0]["x"])


def figure(frame: pd.DataFrame) -> go.Figure:
    """Accuracy against the gradients of a step."""
    fig = go.Figure()
    for line, of in frame.groupby("line", sort=False):
        mean, seeds = of[of["kind"] == "mean"], of[of["kind"] == "seed"]
        colour, marker = of["colour"].iloc[0], of["marker"].iloc[0]
        fig.add_scatter(
            x=seeds["x"] + 0.015, y=seeds["y"], mode="markers", showlegend=False, hoverinfo="skip",
            legendgroup=str(line), marker={"color": colour, "size": 4, "opacity": 0.45},
        )  # fmt: skip
        fig.add_scatter(
            x=mean["x"], y=mean["y"], error_y=dots.bars(mean, 4), mode="markers", name=str(line), legendgroup=str(line),
            marker={"color": colour, "symbol": marker, "size": 10},
            customdata=mean[["low", "high", "n"]],
            hovertemplate=f"{line}<br>%{{y:.1%}} [%{{customdata[0]:.1%}}, %{{customdata[1]:.1%}}] at %{{x:.2f}}, "
            "n = %{customdata[2]}<extra></extra>",
        )  # fmt: skip
    fig.update_xaxes(title_text="Layer gradients of a step, in whole gradients", range=[0, 2.2], zeroline=False)
    fig.update_yaxes(title_text=PANEL, tickformat=".0%", zeroline=False)
    return fig.update_layout(
        height=420, margin={"l": 55, "r": 10, "t": 40, "b": 50},
        legend={"orientation": "h", "y": -0.2, "x": 0},
    )  # fmt: skip


def caption(study: Study, frame: pd.DataFrame) -> str:
    """What is drawn."""
    rho = captions.listed(words.number(r) for r in study.values("rho"))
    return (
        f"{frames.means_over(frame)} All methods take equally many steps from the same pre-trained weights of each "
        "seed. SL-SAM's price is twice the share of the weights in the tensors that it drew, counted at every step. ρ "
        f"= {rho}. {captions.setting(study.spec)}. {captions.excluded(study)}"
    )


def judge(frame: pd.DataFrame) -> list[Finding]:
    """SAM against SGD; each SL-SAM against SAM, within a margin, and against SGD."""
    lines = frame.drop_duplicates("line").set_index("line")
    of = {str(variant): str(line) for line, variant in lines["variant"].items()}
    out: list[Statement] = []

    def less(a: str, b: str) -> Mean:
        of_a, of_b = (frames.seeds(frame, PANEL, lines.loc[line, "x"], line) for line in (a, b))
        return statistics.paired(of_a, of_b)

    def better(a: str, b: str) -> bool:
        d = less(a, b)
        why = f"Accuracy, {a} less {b}: {frames.points(d)}."
        out.append(Statement(f"{a} is more accurate than {b}", rule.positive(d), why))
        return out[-1].test.side == rule.SUPPORTED

    gain = better(of["sam"], of["sgd"]) if {"sgd", "sam"} <= set(of) else True
    note = "" if gain else " SAM itself is not seen to gain on SGD here, so that there is little to keep."
    for line in lines.index[lines["variant"] == "slsam"]:
        if "sam" in of:
            d, share = less(line, of["sam"]), float(lines.loc[line, "x"]) / FULL["sam"]
            why = f"Accuracy, {line} less SAM: {frames.points(d)}.{note}"
            says = f"{line} keeps SAM's accuracy with {words.per_cent(share)} of its layer gradients"
            out.append(Statement(says, rule.above(d, POINTS), why))
        if "sgd" in of:
            better(line, of["sgd"])
    return decide(out)


EXPERIMENT = Experiment(
    name="fine-tuning",
    title="Fine-tuning",
    claim=(
        "When a pre-trained network is fine-tuned, **SL-SAM**, which perturbs and updates only a few layers a step, "
        "drawn by a bandit that prefers large gradients, performs like the best other methods, with 47 % of the "
        "parameters active on vision models (DeiT), 22 % on RoBERTa and 21 % on Llama-3."
    ),
    source=(
        "Cheng et al., *Sparse Layer Sharpness-Aware Minimization for Efficient Fine-Tuning*, 2026, "
        "[arXiv:2602.09395](https://arxiv.org/abs/2602.09395). SL-SAM here is the rule of the authors' code "
        "(chengyif/SL-SAM): what is drawn are parameter tensors, a layer's weights and its biases apart."
    ),
    preset="fine-tuning",
    rule=(
        "Final test accuracy, differences taken within each seed, with a 95 % t-interval. SL-SAM keeps SAM's accuracy "
        f"if the whole interval of SL-SAM less SAM is above −{100 * POINTS:g} percentage point; not supported if it is "
        "not, and lies wholly below 0. “More accurate” is supported if the interval is wholly above 0, not supported "
        f"if wholly below. {rule.DECIDES}"
    ),
    limits=(
        "A perceptron of eight tensors that goes from five handwritten digits to five others is not a transformer. The "
        "price counts gradients of weights only: forward passes and the back-propagation through tensors that were not "
        "drawn stay, and this implementation computes every gradient and masks it, so that no time is saved here. "
        "At equal steps a tensor is updated less often by SL-SAM, which is part of what a lower accuracy shows. The "
        "shares of tensors drawn are ours (the code's own is 0.5, with AdamW at ρ = 0.01); ρ and the learning rate are "
        "the same for all."
    ),
    data=DATA / "fine-tuning",
    frame=frame,
    figure=figure,
    caption=caption,
    judge=judge,
)
