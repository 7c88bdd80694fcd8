"""Captions and alternative texts, written from the data so that they cannot go stale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from sam_dash.problems.datasets import DATASETS
from sam_dash.results import words
from sam_dash.results.drawing import cells, columns, figures
from sam_dash.results.drawing.cells import Looks
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.study import Study, dataset
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


def setting(spec: SweepSpec) -> str:
    """Data set, network, label noise, batch, epochs: what every run of the study shares."""
    p, t = spec.problem, spec.training
    title = DATASETS[p.dataset].title if p.dataset in DATASETS else dataset(spec)
    parts = [title, *([f"{p.n_train} training samples"] if p.n_train else []), networks(spec)]
    parts.append(f"{100 * p.label_noise:g} % label noise" if p.label_noise else "clean labels")
    if p.imbalance != 1:
        parts.append(f"long-tailed {p.imbalance:g} : 1")
    if p.start == "memorised":
        parts.append("started from a memorised minimum")
    if p.start == "pretrained":
        parts.append("pre-trained on the first half of the classes, fine-tuned and tested on the others")
    if p.scaling != "none":
        parts.append({"standardise": "standardised inputs", "features": "each input feature standardised"}[p.scaling])
    parts.append(f"B = {t.batch}")
    return ", ".join([*parts, f"{t.epochs} epochs of {'SGD' if t.optimiser == 'sgd' else 'AdamW'}, lr {t.lr:g}"])


def networks(spec: SweepSpec) -> str:
    """For example "network mlp:64", "3 networks from mlp:8 to mlp:64"."""
    names = spec.networks
    return f"{len(names)} networks from {names[0]} to {names[-1]}" if names else f"network {spec.problem.network}"


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
    text = f"{total} run{'s' * (total != 1)} in this study{' with this network' if study.network else ''}"
    if study.hidden:
        gone.append(f"{study.hidden} more hidden by you")
    if gone:
        text += f"; {listed(gone)}, excluded"
    return text + (f"; {listed(pending)}, not yet included." if pending else "." if gone else ", all finished.")


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
    return f"At this ρ = {listed(words.number(r) for r in rho)}; another ρ can give another order." if rho else ""


def caption(study: Study, frame: pd.DataFrame, x: str, interval: str = "ci", against: str = "") -> str:
    """The caption of a figure of `frame`."""
    what = f"Mean difference from {against}, paired by seed," if against else "Mean"
    means = f"{what} over {over(frame, interval, 'bars and bands')}. "
    drawn = frame[~frame["collapsed"]] if "collapsed" in frame else frame
    lines = [words.title(v) for v in dict.fromkeys(drawn["variant"]) if not figures.is_curve(v, x)]
    dots = "Small dots: single seeds"
    dots += f"; horizontal lines: {listed(lines)}. " if lines else ". "
    parts = [f"{setting(study.spec)}.", radius(frame), excluded(study), lost(study, frame, x)]
    parts += [collapsed(frame, cells.of(study)), _estimators(frame, against)]
    return means + dots + " ".join(p for p in parts if p)


def collapsed(frame: pd.DataFrame, look: Looks) -> str:
    """The cells of a frame as from `collapse.marked` that are crosses in its figure."""
    gone = frame[frame["collapsed"]] if "collapsed" in frame else frame[:0]
    of = gone.loc[gone["kind"] == "mean", tables.cell(frame)].drop_duplicates()
    names = [look.name(row) for row in tables.records(of)]
    return f"Crosses at the lower edge: {listed(names)} collapsed to chance and set no axis." if names else ""


def _estimators(frame: pd.DataFrame, against: str) -> str:
    if "collapsed" in frame:
        frame = frame[~frame["collapsed"]]
    measured = frame["stderr"].gt(0) & ~frame["quantity"].str.endswith(("_acc", "_loss"))
    sharp = frame[(frame["kind"] == "mean") & measured]
    if sharp.empty or against:
        return ""
    worst = float((sharp["stderr"] / sharp["y"].abs()).max())
    return f"The estimate of a single run has a standard error of at most {100 * worst:.2g} %; the bars are not that."


def findings(frame: pd.DataFrame, x: str, look: Looks, against: str = "") -> list[str]:
    """One sentence a quantity: how the end of the axis compares with its start, in paired differences, what lies beyond
    both ends between them, and how the horizontal lines compare with the start; and what is best at λ = 0.

    The judgement uses the 95 % t-interval of the paired difference, whichever interval is drawn.
    """
    out, best = [], {}
    series = figures.series(frame, x, look)
    lines = [line for line in series if figures.is_curve(line[0], x)]
    beside = {of["line"]: part for variant, of, part in series if not figures.is_curve(variant, x)}
    for variant, name, part in lines:
        rows = tables.records(part)
        for q in dict.fromkeys(r["quantity"] for r in rows):
            of = [r for r in rows if r["quantity"] == q and r[x] is not None and not math.isnan(r[x])]
            means = sorted((r for r in of if r["kind"] == "mean"), key=lambda r: r[x], reverse=x == "m")
            if len(means) < 2:
                continue
            points = [
                _Point(
                    f"{figures.SYMBOLS[x]} = {r[x]:g}"
                    + (" (SAM)" if x == "m" and r[x] == look.batch and variant == "sam" else ""),
                    r["y"],
                    {s["seed"]: s["y"] for s in of if s["kind"] == "seed" and s[x] == r[x]},
                )
                for r in means
            ]
            first, last = points[0], points[-1]
            subject = f"{name['line']}: " if len(lines) > 1 else ""
            ends = compare(
                q, subject, [first.y, last.y], statistics.paired(last.seeds, first.seeds), [first.at, last.at], against
            )
            out.append(" ".join([ends, *_between(q, points), *_beside(q, first, beside)]))
            if x == "lam" and means[0][x] == 0 and words.better(q):
                best[words.quantity(q).name] = max(points, key=lambda p: words.better(q) * p.y) is first
    if len(best) > 1 and all(best.values()):
        out.insert(0, f"Here λ = 0, which is SAM, is best in each of {listed(best)}: no λ > 0 does better in the mean.")
    return out


class _Point(NamedTuple):
    """A place on the axis with its mean and its values by seed."""

    at: str
    y: float
    seeds: dict[int, float]


def _between(q: str, points: list[_Point]) -> list[str]:
    """What is higher, or lower, than both ends, against the nearer end."""
    out = []
    for word, sign in (("Highest", 1), ("Lowest", -1)):
        top = max(points, key=lambda p: sign * p.y)
        if top in (points[0], points[-1]):
            continue
        end = max(points[0], points[-1], key=lambda p: sign * p.y)
        out.append(f"{word} at {top.at}, {words.show(q, top.y)}: {_apart(q, top, end)} {end.at}.")
    return out


def _beside(q: str, first: _Point, lines: dict[str, pd.DataFrame]) -> list[str]:
    """Every horizontal line against the start of the axis."""
    said = []
    for name, part in lines.items():
        of = [r for r in tables.records(part) if r["quantity"] == q]
        mean = next((r["y"] for r in of if r["kind"] == "mean"), None)
        if mean is not None:
            line = _Point(name, mean, {r["seed"]: r["y"] for r in of if r["kind"] == "seed"})
            said.append(f"{name} {words.show(q, mean)}, {_apart(q, line, first)} {first.at}")
    return [f"{'; '.join(said)}."] if said else []


def _apart(q: str, a: _Point, b: _Point) -> str:
    """For example "1.6 points [0.5, 2.6] above", "a tie with"."""
    d = statistics.paired(a.seeds, b.seeds)
    if d.n < 2:
        return "without an interval against"
    if d.low == d.high == 0:
        return "the same as"
    word = "above" if d.mean > 0 else "below"
    d, word = (d if d.mean > 0 else -d), word if d.excludes(0) else f"{word}, a tie with"
    low, high = (words.show(q, end, True).removesuffix(" points") for end in (d.low, d.high))
    return f"{words.show(q, d.mean, True)} [{low}, {high}] {word}"


def compare(q: str, subject: str, means: list[float], d: statistics.Mean, at: list[str], against: str) -> str:
    """One sentence: `means` at the first and the last end, `d` the paired difference of the last from the first."""
    subject += words.quantity(q).name + (f" relative to {against}" if against else "")
    values = [words.show(q, v, bool(against)) for v in means]
    change = f"from {values[0]} at {at[0]} to {values[1]} at {at[1]}"
    if d.n < 2:
        return f"{subject} goes {change} (one seed: no interval)."
    if d.excludes(0):
        low, high = (words.show(q, end, True).removesuffix(" points") for end in (d.low, d.high))
        by = f"{words.show(q, d.mean, True)} [{low}, {high}]"
        return f"{subject} {'rises' if d.mean > 0 else 'falls'} {change}: {by} (paired, 95 %, n = {d.n})."
    if d.mean == 0 and d.low == d.high:
        return f"{subject} is the same at {at[0]} and {at[1]}: {values[0]} (n = {d.n})."
    return (
        f"{subject}: a tie between {values[0]} at {at[0]} and {values[1]} at {at[1]} "
        f"(the 95 % interval of the paired difference, n = {d.n}, contains 0)."
    )


def alt(frame: pd.DataFrame, x: str, look: Looks, against: str = "") -> str:
    """The alternative text of a figure: its findings."""
    found = findings(frame, x, look, against)
    over = {"m": "micro-batch size m", "lam": "RW-SAM's λ"}[x]
    names = listed(words.quantity(q).name for q in dict.fromkeys(frame["quantity"]))
    return f"{names} over {over}. " + (" ".join(found) or "Too few values of the axis to compare.")


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
