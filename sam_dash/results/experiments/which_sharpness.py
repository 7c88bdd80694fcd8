"""Which sharpness is lowered: the top eigenvalue by full-batch ascent, the trace by one ascent a sample?"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.claims import rule
from sam_dash.results.drawing import captions, cells
from sam_dash.results.experiments import dots, frames
from sam_dash.results.experiments.experiment import DATA, Experiment, Finding, Statement, decide
from sam_dash.results.numbers import statistics
from sam_dash.results.numbers.study import Study

WORST, MEAN = "Worst: λ_max", "Average: tr(H)"
ASCENT, EACH = "Ascent: gᵀHg/‖g‖²", "Ascent, sample by sample"
PANELS = {WORST: "lam_max", ASCENT: "asc_H", EACH: "asc_H@1", MEAN: "tr_H"}
SHARE = "gᵀHg/‖g‖² over λ_max"
FULL, ONE, SGD = "n-SAM", "SAM, m = 1", "SGD"


def frame(study: Study) -> pd.DataFrame:
    """Every sharpness as a ratio to SGD's of the same seed, at the smallest ρ of the study; and how far the gradient
    points in the sharpest direction.
    """
    rho = min(study.values("rho"), default=float("nan"))
    batch = float(study.spec.training.batch)
    settings: dict[str, dict[str, Any]] = {FULL: {"variant": "nsam", "rho": rho}}
    for m in (batch, 1.0):
        settings[words.cell_name("sam", m, round(batch))] = {"variant": "sam", "rho": rho, "m": m}

    def look(where: dict[str, Any]) -> dict[str, str]:
        return cells.at(where["variant"], where.get("m"), study.spec.training.batch)

    points = []
    for panel, quantity in PANELS.items():
        sgd = frames.by_seed(study.finals, quantity, {"variant": "sgd"})
        for line, where in settings.items():
            ratios = _over(frames.by_seed(study.finals, quantity, where), sgd)
            points.append(frames.rows(panel, line, line, str(where["variant"]), ratios, True, look(where)))
    for line, where in [(SGD, {"variant": "sgd"}), *settings.items()]:
        along, top = (frames.by_seed(study.finals, q, where) for q in ("asc_H", "lam_max"))
        points.append(frames.rows(SHARE, line, line, str(where["variant"]), _over(along, top), True, look(where)))
    return frames.frame(points)


def _over(a: frames.By, b: frames.By) -> dict[int, float]:
    """A / b within each seed in which both are positive."""
    return {s: a[s] / b[s] for s in a if a[s] > 0 and b.get(s, 0) > 0}


def figure(frame: pd.DataFrame) -> go.Figure:
    """A panel a sharpness, the dotted line at 1 is SGD; in the last it is a gradient in the sharpest direction."""
    return dots.figure(frame, zero=(*PANELS, SHARE), log=True)


def caption(study: Study, frame: pd.DataFrame) -> str:
    """What is drawn."""
    rho = min(study.values("rho"), default=float("nan"))
    return (
        "Sharpness of the final weights divided by that of SGD of the same seed, log axis; in the last panel, the "
        "curvature along the gradient as a share of λ_max: 1 where the gradient points in the sharpest direction. "
        "Sample by sample: the mean over samples of the curvature of each one's loss along its own gradient. "
        f"ρ = {words.number(rho)}. The means are geometric. {frames.means_over(frame)} {captions.setting(study.spec)}. "
        f"{captions.excluded(study)}"
    )


def judge(frame: pd.DataFrame) -> list[Finding]:
    """Each method lowers its sharpness, and more than the other's; full-batch ascent aligns the gradient."""
    out: list[Statement] = []
    for line, own, other in ((FULL, WORST, MEAN), (ONE, MEAN, WORST)):
        a = frames.seeds(frame, own, line, line)
        if not a:
            continue
        name, others = own.partition(": ")[2], other.partition(": ")[2]
        out.append(_statement(f"{line} lowers {name}", f"{name} over SGD's", a))
        relative = _over(a, frames.seeds(frame, other, line, line))
        says = f"{line} lowers {name} by a larger factor than {others}"
        out.append(_statement(says, f"ratio of {name} over ratio of {others}", relative))
    share, sgd = (frames.seeds(frame, SHARE, line, line) for line in (FULL, SGD))
    if aligned := _over(share, sgd):
        means = [words.number(statistics.geometric(x.values()).mean) for x in (share, sgd)]
        what = f"{SHARE}, {means[0]} for {FULL} and {means[1]} for SGD, as a ratio"
        out.append(_statement(f"{FULL} turns the gradient towards the sharpest direction", what, aligned, rises=True))
    if each := frames.seeds(frame, EACH, ONE, ONE):
        says = f"{ONE} lowers the curvature along each sample's own gradient"
        out.append(_statement(says, "mean over samples of gᵢᵀHᵢgᵢ/‖gᵢ‖² over SGD's", each))
    return decide(out)


def _statement(says: str, what: str, ratios: dict[int, float], rises: bool = False) -> Statement:
    g, logs = statistics.geometric(ratios.values()), statistics.logarithms(ratios.values())
    ends = f"[{g.low:.3f}, {g.high:.3f}], geometric mean, n = {g.n}" if g.n > 1 else f"n = {g.n}: no interval"
    return Statement(says, rule.positive(logs if rises else -logs), f"{what}: {g.mean:.3f} {ends}.")


EXPERIMENT = Experiment(
    name="which-sharpness",
    title="Which sharpness",
    claim=(
        "SAM with the full-batch gradient minimises the **worst-direction** sharpness, the top eigenvalue λ₁ of the "
        "Hessian; SAM with one sample a step (1-SAM) minimises the **average-direction** sharpness, its trace. "
        "The mechanism: where SAM is applied, the gradient **aligns with the top eigenvector**, so that the ascent "
        "direction is the worst one."
    ),
    source=(
        "Wen, Ma & Li, *How Does Sharpness-Aware Minimization Minimize Sharpness?*, ICLR 2023, "
        "[arXiv:2211.05729](https://arxiv.org/abs/2211.05729)"
    ),
    preset="which-sharpness",
    rule=(
        "Ratios to SGD within each seed; their logarithms averaged over seeds. A statement that something is lowered "
        "is supported if the 95 % t-interval of the ratio lies wholly below 1, not supported if wholly above 1; for "
        f"the alignment the other way round. {rule.DECIDES} A seed whose curvature is not positive has no ratio."
    ),
    limits=(
        "The theorem is about the limit of small ρ and small learning rate along a manifold of minima with loss 0. "
        "Here ρ is finite, four labels of ten are wrong, and training ends after 50 epochs: the methods end at "
        "different train losses, which alone moves both sharpnesses (the page Matched compares at equal loss). n-SAM "
        "takes its ascent from all data but descends on mini-batches; m = 1 averages B gradients with an ascent each. "
        "Alignment is measured at the end only, when the schedule has brought the learning rate to 0; the theory is "
        "about training that goes on."
    ),
    data=DATA / "which-sharpness",
    frame=frame,
    figure=figure,
    caption=caption,
    judge=judge,
)
