"""What a recipe of the seed paper is, and its three kinds: methods compared, λ beside m-SAM's m, slopes over m."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sam_dash.problems.datasets import describe
from sam_dash.results import words
from sam_dash.results.claims import rule
from sam_dash.results.claims.claim import POINTS
from sam_dash.results.drawing import captions, style
from sam_dash.results.experiments import dots, frames
from sam_dash.results.experiments.experiment import Experiment, Finding, Statement, decide
from sam_dash.results.experiments.published import Number
from sam_dash.results.numbers import statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs import recipes
from sam_dash.runs.spec import SweepSpec

HERE, LESS, SAID = "Here", "Here: less SAM, paired", "As published: less SAM"
OVER, SAID_OVER = "Here: tr(V) over SAM's", "As published: over SAM's"
TITLES = {"sgd": "SGD", "sam": "SAM", "rwsam": "RW-SAM"}
PRICED = "RW-SAM, SAM's gradients"
USUAL = 0.5  # λ, RW-SAM's default
Cells = dict[str, dict[str, dict[int, float]]]  # setting -> line -> seed -> value


@dataclass(frozen=True)
class Recipe(Experiment):
    """An experiment with the paper's own numbers, and its settings at the paper's scale, which is not run here."""

    numbers: tuple[Number, ...] = ()
    at_scale: str = ""

    @property
    def sweeps(self) -> tuple[SweepSpec, ...]:
        """Its sweeps in `sam_dash.runs.recipes`."""
        return recipes.RECIPES[self.preset].sweeps

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What was measured here, for people: a row a point of the figure."""
        rows = []
        for row in tables.records(frame[frame["kind"] == "mean"]):
            share = {LESS: _points, HERE: _per_cent}.get(row["panel"], words.number)
            ends = f"{share(row['low'])} … {share(row['high'])}" if row["n"] > 1 else "–"
            point = {"Panel": row["panel"], "Setting": row["x"], "Method": row["line"]}
            rows.append(point | {"Mean": share(row["y"]), "95 % interval": ends, "Seeds": int(row["n"])})
        return pd.DataFrame(rows)

    def said(self) -> pd.DataFrame:
        """The paper's own numbers, a row a setting."""
        rows: dict[str, dict[str, Any]] = {}
        for n in self.numbers:
            row = rows.setdefault(n.setting, {"Table": n.table, "Setting": n.setting})
            row[TITLES[n.method]] = n.value
            if n.error is not None:
                row[f"{TITLES[n.method]}, ±"] = n.error
        return pd.DataFrame(list(rows.values()))


def _points(difference: float) -> str:
    return f"{words.points(difference)} points"


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"


def setting(row: Mapping[str, Any]) -> str:
    """What a run's problem is, among those of one recipe."""
    if row["label_noise"]:
        return f"{100 * row['label_noise']:g} % label noise"
    return f"{describe(row['dataset']).title.partition(',')[0]}, {row['network']}"


def cells(study: Study, quantity: str) -> Cells:
    """Values of the three methods at m = B: as many epochs as the longest, and RW-SAM with fewer."""
    finals = study.finals[study.finals["quantity"] == quantity]
    if "label_noise" not in finals or finals.empty:
        return {}
    finals = finals[finals["m"].isna() | (finals["m"] == finals["batch"])]
    out: Cells = {}
    for _, of in finals.groupby(["label_noise", "dataset", "network", "variant", "epochs"], sort=False):
        row = tables.records(of.head(1))[0]
        same = finals[(finals["label_noise"] == row["label_noise"]) & (finals["dataset"] == row["dataset"])]
        shorter = row["epochs"] < same["epochs"].max()
        line = PRICED if shorter and row["variant"] == "rwsam" else TITLES.get(row["variant"])
        if line is not None and (not shorter or line == PRICED):
            out.setdefault(setting(row), {})[line] = frames.by_seed(of, quantity, {})
    return {name: lines for name, lines in out.items() if "SAM" in lines}


def methods(study: Study, numbers: tuple[Number, ...], quantity: str, ratio: bool) -> pd.DataFrame:
    """Values here, differences (or ratios) to SAM within each seed, and beside them those of the paper."""
    found, points = cells(study, quantity), []
    if not ratio:
        points += [_row(HERE, at, line, by_seed) for at, lines in found.items() for line, by_seed in lines.items()]
    for at, lines in found.items():
        for line, by_seed in lines.items():
            if line != "SAM":
                other = lines["SAM"]
                change = {s: by_seed[s] / other[s] for s in by_seed if s in other} if ratio else (
                    statistics.difference(by_seed, other)
                )  # fmt: skip
                points.append(_row(OVER if ratio else LESS, at, line, change, ratio))
    for n in numbers if found else ():
        sam = next(s.value for s in numbers if s.setting == n.setting and s.method == "sam")
        if n.method != "sam":
            value = n.value / sam if ratio else (n.value - sam) / 100
            points.append([_said(SAID_OVER if ratio else SAID, n, value)])
    return frames.frame(points)


def _row(panel: str, x: str, line: str, values: frames.By, ratio: bool = False) -> list[dict[str, Any]]:
    variant = {"m-SAM": "sam", **{title: v for v, title in TITLES.items()}}.get(line, "rwsam")
    look = style.look(variant)._asdict() | ({"marker": "diamond"} if line == PRICED else {})
    return frames.rows(panel, x, line, variant, values, ratio, look)


def _said(panel: str, n: Number, value: float) -> dict[str, Any]:
    look = style.look(n.method)._asdict()
    common = {"panel": panel, "x": n.setting, "line": TITLES[n.method], "variant": n.method, "kind": "published"}
    return common | {"y": value} | {k: look[k] for k in ("colour", "dash", "marker")}


def judge_methods(frame: pd.DataFrame, ratio: bool) -> list[Finding]:
    """RW-SAM against SAM at equal steps and at equal gradient evaluations, and SAM against SGD, in every setting."""
    out: list[Statement] = []
    panel, name = (OVER, "a smaller tr(V)") if ratio else (LESS, "a higher accuracy")
    for at in dict.fromkeys(frame.loc[frame["panel"] == panel, "x"]):
        for line, better, worse in (("RW-SAM", "RW-SAM", "SAM"), (PRICED, "RW-SAM", "SAM"), ("SGD", "SAM", "SGD")):
            values = frames.seeds(frame, panel, at, line)
            if not values:
                continue
            turn = -1 if (line == "SGD") != ratio else 1
            if ratio:
                logs, g = statistics.logarithms(values.values()), statistics.geometric(values.values())
                test = rule.positive(-logs if turn < 0 else logs)
                why = f"{line} over SAM: {g.mean:.3f} [{g.low:.3f}, {g.high:.3f}], geometric mean, n = {g.n}."
            else:
                d = statistics.mean(turn * v for v in values.values())
                test, why = rule.positive(d), f"{better} less {worse}: {frames.points(d)}."
            price = " at as many gradient evaluations" if line == PRICED else ""
            out.append(Statement(f"{better} has {name} than {worse}{price}, {at}", test, why))
    return decide(out)


def strengths(study: Study) -> pd.DataFrame:
    """Accuracy by λ and by m, and each less SAM's."""
    finals = study.finals[study.finals["quantity"] == "test_acc"]
    batch = study.spec.training.batch
    by: dict[tuple[str, str], dict[int, float]] = {}
    for _, of in finals[finals["variant"].isin(["sam", "rwsam"])].groupby(["variant", "m", "lam"], dropna=False):
        row = tables.records(of.head(1))[0]
        place = f"λ = {words.number(row['lam'])}" if row["variant"] == "rwsam" else f"m = {row['m']:g}"
        by[row["variant"], place] = frames.by_seed(of, "test_acc", {})
    sam = by.get(("sam", f"m = {batch}"))
    if not sam:
        return frames.frame([])
    rows = [_row(HERE, place, "RW-SAM" if v == "rwsam" else "m-SAM", y) for (v, place), y in by.items()]
    rows += [
        _row(LESS, place, "RW-SAM" if v == "rwsam" else "m-SAM", statistics.difference(y, sam))
        for (v, place), y in by.items() if y is not sam
    ]  # fmt: skip
    return frames.frame(rows)


def judge_strengths(frame: pd.DataFrame) -> list[Finding]:
    """Every λ within a point of the usual one; RW-SAM at its best λ as accurate as m-SAM, m by m."""
    of = frame[(frame["panel"] == HERE) & (frame["kind"] == "seed")]
    lam, m = (
        {str(x): dict(zip(r["seed"], r["y"], strict=True)) for x, r in of[of["line"] == line].groupby("x", sort=False)}
        for line in ("RW-SAM", "m-SAM")
    )
    usual = lam.get(f"λ = {words.number(USUAL)}")
    if not usual or len(lam) < 2:
        return []
    apart = {x: statistics.paired(y, usual) for x, y in lam.items() if y is not usual}
    why = "; ".join(f"{x}: {frames.points(d)}" for x, d in apart.items())
    test = rule.every([rule.within(d, POINTS) for d in apart.values()], len(apart))
    out = [Statement(f"Every λ is within a point of λ = {words.number(USUAL)}", test, f"{why}.")]
    best = max(lam, key=lambda x: float(np.mean(list(lam[x].values()))))
    for x, y in m.items():
        d = statistics.paired(lam[best], y)
        says = f"RW-SAM at its best λ is as accurate as SAM at {x}"
        out.append(Statement(says, rule.above(d, POINTS, len(lam)), f"RW-SAM at {best} less SAM: {frames.points(d)}."))
    return decide(out)


QUANTITIES = {HERE: "test_acc", "log₂ tr(V) at the end": "tr_V"}


def slopes(study: Study) -> pd.DataFrame:
    """Test accuracy and the logarithm of tr(V) at the end, by m."""
    points = []
    for panel, quantity in QUANTITIES.items():
        finals = study.finals[(study.finals["quantity"] == quantity) & (study.finals["variant"] == "sam")]
        for m, of in sorted(finals.groupby("m"), reverse=True):
            values = frames.by_seed(of, quantity, {})
            if quantity == "tr_V":
                values = {s: float(np.log2(v)) for s, v in values.items() if v > 0}
            points.append(_row(panel, f"m = {float(str(m)):g}", "m-SAM", values))
    return frames.frame(points)


def judge_slopes(frame: pd.DataFrame) -> list[Finding]:
    """Accuracy rises and tr(V) falls as m is halved."""
    out = []
    said = ("Smaller m is more accurate after equally many steps", "Smaller m has a smaller tr(V) then")
    for panel, says, turn in zip(QUANTITIES, said, (-1, 1), strict=True):
        by_seed: dict[int, dict[float, float]] = {}
        for row in tables.records(frame[(frame["panel"] == panel) & (frame["kind"] == "seed")]):
            by_seed.setdefault(int(row["seed"]), {})[float(row["x"].removeprefix("m = "))] = turn * row["y"]
        if by_seed:
            s = statistics.slope(by_seed).slope
            halving = -s if turn > 0 else s
            shown = frames.points(halving) if turn < 0 else (
                f"{words.number(halving.mean)} [{words.number(halving.low)}, {words.number(halving.high)}] doublings, "
                f"n = {halving.n}"
            )  # fmt: skip
            out.append(Statement(says, rule.positive(s), f"Change per halving of m: {shown}."))
    return decide(out)


def caption(study: Study, frame: pd.DataFrame) -> str:
    """What is drawn; of several problems the places on the axis say which."""
    said = " Hollow: the paper's own numbers, of other networks and data; they take no part in any verdict."
    priced = f" {PRICED}: 6/7 of the epochs, so as many gradient evaluations." if PRICED in set(frame["line"]) else ""
    one = study.runs[["label_noise", "network"]].drop_duplicates()
    setting = f" {captions.setting(study.spec)}." if len(one) == 1 else ""
    rho = captions.listed(words.number(r) for r in study.values("rho"))
    return (
        f"{frames.means_over(frame)}{said if (frame['kind'] == 'published').any() else ''} ρ = {rho}.{priced}{setting} "
        f"{captions.excluded(study)}"
    )


def compared(numbers: tuple[Number, ...], quantity: str = "test_acc") -> dict[str, Any]:
    """The parts of a recipe that compares methods in a quantity: test_acc, or tr_V by its ratio."""
    ratio = quantity == "tr_V"
    return {
        "numbers": numbers,
        "frame": partial(methods, numbers=numbers, quantity=quantity, ratio=ratio),
        "figure": partial(dots.figure, zero=(LESS, SAID, OVER, SAID_OVER), percent=not ratio, log=ratio),
        "judge": partial(judge_methods, ratio=ratio),
    }


BY_STRENGTH: dict[str, Any] = {
    "frame": strengths, "judge": judge_strengths, "figure": partial(dots.figure, zero=(LESS,), percent=True),
}  # fmt: skip
BY_M: dict[str, Any] = {"frame": slopes, "judge": judge_slopes, "figure": dots.figure}
