"""Does SAM gain more over SGD, the more parameters a network has?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from sam_dash.problems.architecture import size
from sam_dash.problems.datasets import describe
from sam_dash.results import words
from sam_dash.results.claims import rule
from sam_dash.results.drawing import captions, cells, lines
from sam_dash.results.drawing.panels import level
from sam_dash.results.experiments import frames
from sam_dash.results.experiments.experiment import DATA, Experiment, Finding, Statement, decide
from sam_dash.results.numbers import collapse, statistics
from sam_dash.results.numbers.study import Study
from sam_dash.results.numbers.trend import trend
from sam_dash.runs import presets

OWN, FIXED = "own ρ", "one ρ"
ACCURACY, GAIN, FLAT = "Test accuracy", "Gain over SGD in accuracy", "tr(H) over SGD's"
PANELS = [f"{what}, {at}" for at in (OWN, FIXED) for what in (ACCURACY, GAIN, FLAT)]
PERCENT, RATIO = frozenset(p for p in PANELS if FLAT not in p), frozenset(p for p in PANELS if FLAT in p)
GAINS = frozenset(p for p in PANELS if GAIN in p)
AXES = lines.Axes(
    "Number of parameters <i>d</i> (log scale)", "d", log2=True, logy=RATIO, percent=PERCENT, points=GAINS
)
SGD = words.title("sgd")
ByRho = Mapping[float, frames.By]


def frame(study: Study) -> pd.DataFrame:
    """Accuracy, its gain over SGD and tr(H) over SGD's, by the number of parameters; collapsed settings left out.

    At one ρ, that of the digits preset, and at each network's own: for a seed the one that is best in the mean of the
    other seeds, so that no seed has a part in the choice it is judged by. Besides the usual columns: `rho`, chosen so,
    and `samples`, the number N of training samples.
    """
    rows: list[dict[str, Any]] = []
    batch, rhos, samples = study.spec.training.batch, study.values("rho"), {"samples": study.spec.problem.samples}
    for part in study.parts():
        d = parameters(part)
        finals = collapse.without(part.finals, collapse.runs(part.finals, part.runs, part.spec))
        sgd = {q: frames.by_seed(finals, q, {"variant": "sgd"}) for q in ("test_acc", "tr_H")}
        for at in (OWN, FIXED):
            rows += [row | samples for row in frames.rows(f"{ACCURACY}, {at}", d, SGD, "sgd", sgd["test_acc"])]
        for m in part.spec.m:
            where = {"variant": "sam", "m": float(m)}
            found = {r: frames.by_seed(finals, "test_acc", where | {"rho": r}) for r in rhos}
            flat = {r: frames.by_seed(finals, "tr_H", where | {"rho": r}) for r in rhos}
            for at, chosen in ((OWN, own(found)), (FIXED, dict.fromkeys(found.get(one(), {}), one()))):
                accuracy, tr = ({s: v[r][s] for s, r in chosen.items() if s in v[r]} for v in (found, flat))
                gain = statistics.difference(accuracy, sgd["test_acc"])
                ratio = {s: tr[s] / sgd["tr_H"][s] for s in tr if tr[s] > 0 and sgd["tr_H"].get(s, 0) > 0}
                for what, values in ((ACCURACY, accuracy), (GAIN, gain), (FLAT, ratio)):
                    line, look = words.cell_name("sam", m, batch), cells.at("sam", m, batch)
                    new = frames.rows(f"{what}, {at}", d, line, "sam", values, what == FLAT, look)
                    rows += [row | samples | {"rho": chosen.get(row.get("seed", -1))} for row in new]
    return pd.DataFrame(rows, columns=[*frames.COLUMNS, "rho", "samples"]).astype({"x": float, "rho": float})


def parameters(study: Study) -> int:
    """The number of parameters d of its network."""
    problem = study.spec.problem
    data = describe(problem.dataset, problem.scaling)
    return size(problem.network, data.shape, data.classes, data.vocabulary).parameters


def one() -> float:
    """The ρ of the digits preset."""
    return float(presets.get("digits").sweep.knobs["rho"][0])


def own(accuracy: ByRho) -> dict[int, float]:
    """Seed -> the ρ with the best mean accuracy over the other seeds that have a value at every ρ considered.

    A ρ at which a seed has no value (it diverged) is not considered; of equals the smallest is taken.
    """
    seeds = sorted({s for values in accuracy.values() for s in values})
    whole = {r: values for r, values in sorted(accuracy.items()) if len(values) == len(seeds)}
    if len(seeds) < 2 or not whole:
        return {}
    totals = {r: sum(values.values()) for r, values in whole.items()}
    return {s: max(whole, key=lambda r, s=s: totals[r] - whole[r][s]) for s in seeds}  # type: ignore[misc]


def figure(frame: pd.DataFrame) -> go.Figure:
    """Above at each network's own ρ, below at one ρ: accuracy, its gain over SGD, and tr(H) over SGD's."""
    panels = [panel for panel in PANELS if panel in set(frame["panel"])]
    drawn = frame.iloc[frame["panel"].map(panels.index).argsort(kind="stable")]
    titles = {panel: panel.replace(FIXED, f"ρ = {words.number(one())}") for panel in panels}
    fig = lines.figure(drawn, AXES, titles, columns=3)
    for i, panel in enumerate(panels):
        if ACCURACY not in panel:
            level(fig, i, 1 if panel in RATIO else 0)
    widths = sorted(set(frame["x"]))
    short = [f"{d / 1000:.2g}k" if d >= 1000 else f"{d:g}" for d in widths]
    fig.update_xaxes(tickvals=widths, ticktext=short)
    return fig


def caption(study: Study, frame: pd.DataFrame) -> str:
    """What is drawn, which ρ were chosen, and what collapsed."""
    chosen = []
    for line, of in frame[(frame["panel"] == f"{GAIN}, {OWN}") & (frame["kind"] == "seed")].groupby("line"):
        medians = [words.number(float(r)) for r in of.groupby("x")["rho"].median()]
        chosen.append(f"{line}: {', '.join(medians)}")
    gone = sum(len(collapse.runs(p.finals, p.runs, p.spec)) for p in study.parts())
    return (
        f"{frames.means_over(frame)} Gains and ratios are taken within each seed; the ratios' means are geometric. "
        f"Above: every network at its own ρ, for each seed the best of "
        f"{captions.listed(words.number(r) for r in study.values('rho'))} in the mean of the other seeds. Below: at "
        f"ρ = {words.number(one())} for all. Median of the ρ chosen, narrow to wide: {'; '.join(chosen) or 'none'}. "
        f"{gone} runs of collapsed settings are left out. {captions.setting(study.spec)}. "
        f"{captions.excluded(study)}"
    )


def ranks(frame: pd.DataFrame, panel: str, line: str, above: float = 0) -> tuple[statistics.Mean, list[float]]:
    """Spearman's correlation of a panel's values with d, in each seed that has all d > `above`; mean, and these d."""
    of = frame[(frame["panel"] == panel) & (frame["line"] == line) & (frame["kind"] == "seed") & (frame["x"] > above)]
    d = sorted(of["x"].unique())
    rows = {s: dict(zip(v["x"], v["y"], strict=True)) for s, v in of.groupby("seed")}
    return statistics.mean([trend({0: row}).spearman for row in rows.values() if len(row) == len(d) > 2]), d


def judge(frame: pd.DataFrame) -> list[Finding]:
    """The gain rises with d: at each network's own ρ, there among d > N, and among these at one ρ. tr(H) falls more."""
    N = float(frame["samples"].max()) if len(frame) else 0.0
    cases = [
        (GAIN, OWN, 0.0, "gain grows with the number of parameters, each network at its own ρ"),
        (GAIN, OWN, N, "gain grows where there are more parameters than samples, each at its own ρ"),
        (GAIN, FIXED, N, f"gain grows where there are more parameters than samples, all at ρ = {words.number(one())}"),
        (FLAT, OWN, 0.0, "tr(H) over SGD's falls with the number of parameters, each network at its own ρ"),
    ]
    out: list[Statement] = []
    for what, at, above, says in cases:
        panel = f"{what}, {at}"
        for line in dict.fromkeys(frame.loc[frame["panel"] == panel, "line"]):
            mean, d = ranks(frame, panel, line, above)
            if mean.n:
                test = rule.positive(-mean if what == FLAT else mean)
                why = f"Spearman's correlation with d within a seed: {_interval(mean)}."
                out.append(Statement(f"{line}: {says}", test, f"{why} {_course(frame, panel, line, d)}"))
    return decide(out)


def _interval(mean: statistics.Mean) -> str:
    low, high = max(-1.0, mean.low), min(1.0, mean.high)  # no correlation is beyond
    ends = f"[{low:+.2f}, {high:+.2f}], n = {mean.n}" if mean.n > 1 else "n = 1: no interval"
    return f"{mean.mean:+.2f} {ends}".replace("-", "\N{MINUS SIGN}")


def _course(frame: pd.DataFrame, panel: str, line: str, d: list[float]) -> str:
    """The means at the ends and at their best between: that a gain grows does not say that it goes on to."""
    ratio = panel in RATIO
    means = {}
    for x in d:
        values = frames.seeds(frame, panel, x, line).values()
        means[x] = (statistics.geometric(values) if ratio else statistics.mean(values)).mean
    best = min(means, key=means.__getitem__) if ratio else max(means, key=means.__getitem__)

    def at(x: float) -> str:
        value = f"{words.number(means[x])} times SGD's" if ratio else f"{words.points(means[x])} points"
        return f"{value} at d = {x:g}"

    ends = f"From {at(d[0])} to {at(d[-1])}"
    return f"{ends}." if best in (d[0], d[-1]) else f"{ends}, by way of {at(best)}."


EXPERIMENT = Experiment(
    name="overparameterisation",
    title="Overparameterisation",
    claim=(
        "SAM's gain in accuracy over SGD **grows with the number of parameters**, in particular under label noise: "
        "more solutions fit the data, and SAM's bias picks a better one of them. The paper adds that regularisation is "
        "needed for it. That SAM also *flattens* more the wider the network is our addition, not the paper's claim."
    ),
    source=(
        "Shin, Lee, Andriushchenko & Lee, *Critical Influence of Overparameterization on Sharpness-aware "
        "Minimization*, UAI 2025, [arXiv:2311.17539](https://arxiv.org/abs/2311.17539)"
    ),
    preset="overparameterisation",
    rule=(
        "Differences from SGD within each seed; in each seed their Spearman correlation with the number of parameters; "
        "its mean over seeds. That the gain grows is supported if the 95 % t-interval over seeds lies wholly above 0, "
        f"not supported if wholly below 0 (for tr(H) the other way round). {rule.DECIDES} Each network's own "
        "ρ is chosen, for each seed, on the other seeds. Collapsed settings are left out: with them, small networks "
        "that SAM breaks would count for the claim. A rank correlation "
        "over all widths can be positive although the gain falls again: hence the statements on the larger networks "
        "alone, and the means at the ends and the best."
    ),
    limits=(
        "One data set of 1000 samples, one hidden layer, four labels of ten wrong, 50 epochs for every width and no "
        "weight decay; the paper has weight decay, and images, text and graphs. The baseline moves too: SGD is best "
        "where the network is just too small to memorise the wrong labels, so that part of the gain above is "
        "memorisation that SAM suppresses. ρ comes from a coarse grid (the caption says which were chosen), and the "
        "seeds that choose it are tested on the same test set. m = 1 is m-SAM with an ascent for each sample."
    ),
    data=DATA / "overparameterisation",
    frame=frame,
    figure=figure,
    caption=caption,
    judge=judge,
)
