"""Which sharpness is lowered: the top eigenvalue by full-batch ascent, the trace by one ascent a sample?"""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import captions, style
from sam_dash.results.experiments import dots, frames
from sam_dash.results.experiments.experiment import Experiment, Finding, verdict
from sam_dash.results.statistics import Mean
from sam_dash.results.study import EXAMPLE, Study

WORST, MEAN = "Worst direction: λ_max", "Average direction: tr(H)"
PANELS = {WORST: "lam_max", MEAN: "tr_H"}
FULL, ONE = "n-SAM", "SAM, m = 1"


def frame(study: Study) -> pd.DataFrame:
    """Both sharpnesses as ratios to SGD's of the same seed, at the smallest ρ of the study."""
    rho = min(study.values("rho"), default=float("nan"))
    batch = float(study.spec.training.batch)
    cells = {FULL: {"variant": "nsam", "rho": rho}, f"SAM, m = {batch:g}": {"variant": "sam", "rho": rho, "m": batch}}
    cells[ONE] = {"variant": "sam", "rho": rho, "m": 1.0}
    points = []
    for panel, quantity in PANELS.items():
        sgd = frames.by_seed(study.finals, quantity, {"variant": "sgd"})
        for line, where in cells.items():
            own = frames.by_seed(study.finals, quantity, where)
            ratios = {s: own[s] / sgd[s] for s in own if sgd.get(s, 0) > 0 and own[s] > 0}
            points.append(frames.rows(panel, line, line, str(where["variant"]), ratios, ratio=True))
    return frames.frame(points)


def figure(frame: pd.DataFrame) -> go.Figure:
    """A panel a sharpness; the dotted line at 1 is SGD."""
    return dots.figure(frame, zero=tuple(PANELS), log=True)


def caption(study: Study, frame: pd.DataFrame) -> str:
    """What is drawn."""
    rho = min(study.values("rho"), default=float("nan"))
    return (
        f"Sharpness of the final weights divided by that of SGD of the same seed, log axis; ρ = {style.number(rho)}. "
        f"The means are geometric. {frames.means_over(frame)} {captions.setting(study.spec)}. "
        f"{captions.excluded(study)}"
    )


def judge(frame: pd.DataFrame) -> list[Finding]:
    """Each method lowers its sharpness, and lowers it more than the other sharpness."""
    out = []
    for line, own, other in ((FULL, WORST, MEAN), (ONE, MEAN, WORST)):
        a, b = (frames.seeds(frame, panel, line, line) for panel in (own, other))
        if not a:
            continue
        name, others = own.partition(": ")[2], other.partition(": ")[2]
        out.append(_finding(f"{line} lowers {name}", f"{name} over SGD's", a))
        relative = {s: a[s] / b[s] for s in a if s in b}
        says = f"{line} lowers {name} by a larger factor than {others}"
        out.append(_finding(says, f"ratio of {name} over ratio of {others}", relative))
    return out


def _finding(says: str, what: str, ratios: dict[int, float]) -> Finding:
    g = frames.geometric(ratios.values())
    lowered = Mean(1 - g.mean, 1 - g.high, 1 - g.low, g.n)
    why = f"{what}: {g.mean:.3f} [{g.low:.3f}, {g.high:.3f}], geometric mean, n = {g.n}."
    return Finding(says, verdict(lowered), why)


EXPERIMENT = Experiment(
    name="which-sharpness",
    title="Which sharpness",
    claim=(
        "SAM with the full-batch gradient minimises the **worst-direction** sharpness, the top eigenvalue λ₁ of the "
        "Hessian; SAM with one sample a step (1-SAM) minimises the **average-direction** sharpness, its trace."
    ),
    source=(
        "Wen, Ma & Li, *How Does Sharpness-Aware Minimization Minimize Sharpness?*, ICLR 2023, "
        "[arXiv:2211.05729](https://arxiv.org/abs/2211.05729)"
    ),
    preset="digits",
    rule=(
        "Ratios to SGD within each seed; their logarithms averaged over seeds. A statement that something is lowered "
        "is supported if the 95 % t-interval of the ratio lies wholly below 1, not supported if wholly above 1, else "
        "a tie: inconclusive. Four statements, not corrected for their number."
    ),
    limits=(
        "The theorem is about the limit of small ρ and small learning rate along a manifold of minima with loss 0. "
        "Here ρ is finite, four labels of ten are wrong, and training ends after 50 epochs: the methods end at "
        "different train losses, which alone moves both sharpnesses (the page Matched compares at equal loss). n-SAM "
        "takes its ascent from all data but descends on mini-batches; m = 1 averages B gradients with an ascent each. "
        "The ascent-direction sharpness of the paper is not measured."
    ),
    data=EXAMPLE,
    frame=frame,
    figure=figure,
    caption=caption,
    judge=judge,
)
