"""Captions and alternative texts, written from the data so that they cannot go stale."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from sam_dash.problems.datasets import DATASETS
from sam_dash.results import words
from sam_dash.results.drawing import cells, columns, figures
from sam_dash.results.drawing.cells import Looks
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.study import Study, dataset
from sam_dash.runs.recording import RecordedTraining
from sam_dash.runs.spec import SweepSpec

WORDS = {"failed": "failed", "diverged": "diverged", "stopped": "stopped", "interrupted": "interrupted"}
PENDING = {"queued": "queued", "running": "running"}


def every(epochs: int) -> str:
    """For example "every epoch", "every 3 epochs"."""
    return "every epoch" if epochs == 1 else f"every {epochs} epochs"


def listed(parts: Iterable[str]) -> str:
    """For example "a, b and c"; "a, 1; b, 2; and c" where parts have commas of their own."""
    items = list(parts)
    comma, last = ("; ", "; and ") if len(items) > 2 and any(", " in item for item in items) else (", ", " and ")
    return last.join([comma.join(items[:-1]), items[-1]] if len(items) > 1 else items)


SCALED = {
    "standardise": "standardised inputs", "features": "each input feature standardised", "tokens": "inputs are tokens"
}  # fmt: skip


def setting(spec: SweepSpec) -> str:
    """Data set, network, label noise, batch, epochs: what all runs of a study share; of recorded ones what was said."""
    p, t = spec.problem, spec.training
    if isinstance(t, RecordedTraining):
        said = [f"Recorded runs: {dataset(spec)}", *([networks(spec)] if p.network else [])]
        said += [f"{name} {value}" for name, value in t.settings.items()] + [f"B = {t.batch}"] * bool(t.batch)
        return ", ".join(said)
    title = DATASETS[p.dataset].title if p.dataset in DATASETS else dataset(spec)
    parts = [title, *([f"{p.n_train} training samples"] if p.n_train else []), networks(spec)]
    if p.label_noise or p.known is None or p.known.classes:
        parts.append(f"{100 * p.label_noise:g} % label noise" if p.label_noise else "clean labels")
    if p.imbalance != 1:
        parts.append(f"long-tailed {p.imbalance:g} : 1")
    if p.start == "memorised":
        parts.append("started from a memorised minimum")
    if p.start == "pretrained":
        parts.append("pre-trained on the first half of the classes, fine-tuned and tested on the others")
    if p.scaling != "none":
        parts.append(SCALED[p.scaling])
    parts.append(f"B = {t.batch}")
    return ", ".join([*parts, f"{t.epochs} epochs of {'SGD' if t.optimiser == 'sgd' else 'AdamW'}, lr {t.lr:g}"])


def about(study: Study) -> str:
    """`setting` of a study; of several as one also what the others differ in."""
    others = [name for name in dict.fromkeys(name for _, name in study.beside) if name != study.beside[0][1]]
    return setting(study.spec) + (f"; beside it the same with: {'; '.join(others)}" if others else "")


def networks(spec: SweepSpec) -> str:
    """For example "network mlp:64", "3 networks from mlp:8 to mlp:64"; of a problem file "its own network"."""
    names = spec.networks
    if names:
        return f"{len(names)} networks from {names[0]} to {names[-1]}"
    return "its own network" if spec.problem.is_file else f"network {spec.problem.network}"


def seeds(frame: pd.DataFrame) -> str:
    """For example "3 seeds", "2 to 3 seeds"."""
    n = frame.loc[frame["kind"] == "mean", "n"].dropna().astype(int)
    if n.empty:
        return "no seed"
    if n.min() == n.max():
        return "1 seed" if n.max() == 1 else f"{n.max()} seeds"
    return f"{n.min()} to {n.max()} seeds (n is in the data)"


def over(frame: pd.DataFrame, interval: str = "ci", bars: str = "bars") -> str:
    """For example "3 seeds; bars: 95 % t-interval over seeds", "1 seed: no interval"."""
    several = (frame.loc[frame["kind"] == "mean", "n"] > 1).any()
    return seeds(frame) + (f"; {bars}: {statistics.INTERVALS[interval]} over seeds" if several else ": no interval")


def excluded(study: Study) -> str:
    """How many runs there are, and which of them are not in the figure."""
    total = len(study.runs)
    gone = [f"{n} {WORDS[s]}" for s, n in study.counts.items() if s in WORDS]
    pending = [f"{n} {PENDING[s]}" for s, n in study.counts.items() if s in PENDING]
    where = f"these {len(study.beside)} studies or networks" if study.beside else "this study"
    where += " with this network" if study.network and not study.beside else ""
    text = f"{total} run{'s' * (total != 1)} in {where}"
    if study.hidden:
        gone.append(f"{study.hidden} more hidden by you")
    if study.repeated:
        gone.append(f"{study.repeated} earlier of a setting and seed that was recorded again")
    if gone:
        text += f"; {listed(gone)}, excluded"
    text += f"; {listed(pending)}, not yet included." if pending else "." if gone else ", all finished."
    return f"{text} {mixed(study)}".rstrip()


def mixed(study: Study) -> str:
    """That some finished runs were made with other software or threads than most, and what that means; "" if none."""
    others = dict(list(study.made.items())[1:])
    if not others:
        return ""
    each = listed(f"{n} with {how}" if how != "imported" else f"{n} imported" for how, n in others.items())
    return f"Made otherwise than the rest: {each}; equal to rounding only, which training magnifies."


def drawn(study: Study) -> str:
    """How many recorded runs there are, and how far: their curves are drawn before they end, and after a kill."""
    counts = listed(f"{n} {'finished' if s == 'done' else s}" for s, n in study.counts.items())
    rest = f"; {study.hidden} more hidden by you" if study.hidden else ""
    return f"{counts}, each as far as it got; of one setting and seed the last{rest}."


def lost(study: Study, frame: pd.DataFrame, x: str) -> str:
    """The settings that have ended without a single result: they would be missing from the figure unsaid."""
    runs = study.runs
    settings, look = tables.cell(runs), cells.of(study)
    names = []
    for key, of in runs.groupby(settings, dropna=False, sort=False):
        row = dict(zip(settings, list(key), strict=True))
        ended = not of["status"].isin(["done", "queued", "running"]).any()
        swept = figures.is_curve(str(row["variant"]), "lam") and x == "m"
        rho = row.get("rho", math.nan)
        other = rho == rho and rho not in set(frame["rho"].dropna())
        if ended and not swept and not other:
            counts = listed(f"{n} {s}" for s, n in of["status"].value_counts().items())
            names.append(f"{look.name(row)} ({counts})")
    return f"Without any result: {'; '.join(names)}." if names else ""


def radius(frame: pd.DataFrame) -> str:
    """The words "at this rho": the effect of m depends on it."""
    rho = sorted(frame["rho"].dropna().unique()) if "rho" in frame else []
    if len(rho) > 1:
        return f"At ρ = {listed(words.number(r) for r in rho)}, each drawn by itself."
    return f"At this ρ = {words.number(rho[0])}; another ρ can give another order." if rho else ""


def caption(
    study: Study, frame: pd.DataFrame, x: str, interval: str = "ci", against: str = "", dots: bool = True
) -> str:
    """The caption of a figure of `frame`; `dots`: whether the seeds of lines have them."""
    what = f"Mean difference from {against}, paired by seed," if against else "Mean"
    means = f"{what} over {over(frame, interval, 'bars and bands')}. "
    drawn = frame[~frame["collapsed"]] if "collapsed" in frame else frame
    lines = [words.title(v) for v in dict.fromkeys(drawn["variant"]) if not figures.is_curve(v, x)]
    says = "Small dots: single seeds" if dots else "Single seeds are in the data"
    says += f"; horizontal lines: {listed(lines)}. " if lines else ". "
    parts = [f"{about(study)}.", radius(frame), excluded(study), lost(study, frame, x)]
    ring = (
        f"Ringed: the best mean of {'all' if tables.overlaid(frame) else 'a line'}; it was chosen on these seeds."
        if "best" in frame and frame["best"].any()
        else ""
    )
    parts += [ring, collapsed(frame, cells.of(study)), _estimators(frame, against)]
    return means + says + " ".join(p for p in parts if p)


def collapsed(frame: pd.DataFrame, look: Looks) -> str:
    """The cells of a frame as from `collapse.marked` that are crosses in its figure."""
    gone = frame[frame["collapsed"]] if "collapsed" in frame else frame[:0]
    of = gone.loc[gone["kind"] == "mean", tables.cell(frame)].drop_duplicates()
    names = [look.name(row) for row in tables.records(of)]
    return f"Crosses at the lower edge: {listed(names)} collapsed to chance and set no axis." if names else ""


def _estimators(frame: pd.DataFrame, against: str) -> str:
    if "collapsed" in frame:
        frame = frame[~frame["collapsed"]]
    measured = frame["stderr"].gt(0) & ~frame["quantity"].map(words.is_score).astype(bool)
    sharp = frame[(frame["kind"] == "mean") & measured]
    if sharp.empty or against:
        return ""
    worst = float((sharp["stderr"] / sharp["y"].abs()).max())
    return f"Beside the spread over seeds, a single run's estimate has a standard error of at most {100 * worst:.2g} %."


SLOPE = "Change per doubling of m"


def slope_table(frame: pd.DataFrame) -> pd.DataFrame:
    """`tables.slopes` in words, for people."""
    rows = []
    for r in tables.records(frame):
        q = r["quantity"]
        slope, low, high = (words.in_unit(q, r[k]) for k in ("slope", "low", "high"))
        row = {"Variant": words.title(r["variant"]), "Quantity": words.labelled(q, difference=True), SLOPE: slope}
        row |= {columns.LOW: low, columns.HIGH: high, "Seeds": r["n"], "Of these monotone": r["monotone"]}
        rows.append(row | {"Reading": _reading(low, high)})
    names = ["Variant", "Quantity", SLOPE, columns.LOW, columns.HIGH, "Seeds", "Of these monotone", "Reading"]
    return pd.DataFrame(rows, columns=names)


def _reading(low: float, high: float) -> str:
    if math.isnan(low):
        return "one seed: no interval"
    return "rises with m" if low > 0 else "falls with m" if high < 0 else "no trend detected"
