"""The figures of a study, for its bundle: those of every page that it has data for.

Each is made from a frame that goes into the bundle beside it, as the page makes it before a control is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import cells, lines
from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.results.numbers import collapse, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import (
    VIEWS,
    density_figure,
    dynamics,
    layers,
    matched,
    matched_figure,
    noise_law,
    rho_map,
    rw_weights,
    simpson,
    tenths,
)
from sam_dash.results.views.view import Curves, Selection, StudyView
from sam_dash.runs import presets

CURVES = ("test_acc", "train_loss", "tr_H", "tr_V")
WIDE = 6  # panels side by side; print wraps them to its width
COSTS = {"train-loss": "train_loss", "gradients": "gradients", "seconds": "seconds"}


class Picture(NamedTuple):
    """A figure, its caption, and the frame that it was made from."""

    name: str
    figure: go.Figure
    caption: str
    frame: pd.DataFrame


class Part(NamedTuple):
    """Final values and runs at one rho, what has collapsed of them, and the curves of the study."""

    finals: pd.DataFrame
    runs: pd.DataFrame
    gone: set[str]
    curves: pd.DataFrame


def pictures(study: Study, curves: Curves) -> list[Picture]:
    """Of each network every view at each ρ, which is in its name where there are several, or of all ρ together."""
    parts = ((one, at(one, curves)) for one in study.parts())
    return [*(picture for one, of in parts for picture in _pictures(one, of)), *_experiments(study)]


def at(study: Study, curves: Curves) -> Curves:
    """The curves of the study's own runs."""

    def own(quantities: Sequence[str], points: int) -> pd.DataFrame:
        found = curves(quantities, points)
        return found[found["run"].isin(study.runs["run"])]

    return own


def _pictures(study: Study, curves: Curves) -> list[Picture]:
    out: list[Picture] = []
    network = f"-{study.network.replace(':', '-')}" if study.network else ""
    rhos = study.values("rho")
    for rho in rhos or [None]:
        where = {"rho": rho} if rho is not None else {}
        here = Selection(study, tables.select(study.finals, where), tables.select(study.runs, where), curves)
        suffix = f"-rho-{rho:g}" if len(rhos) > 1 else ""
        for view in VIEWS.values():
            if isinstance(view, StudyView):
                out += [p._replace(name=p.name + suffix) for p in _of(view, here)]
        wanted = (*CURVES, *rw_weights.QUANTITIES, *words.TENTHS)
        part = Part(here.finals, here.runs, here.collapsed, curves(wanted, rw_weights.points(study)))
        for make in (_matched, _correlation, _noise, _weights, _dynamics):
            out += [p._replace(name=p.name + suffix) for p in make(study, part) if len(p.frame)]
    return [p._replace(name=p.name + network) for p in (*out, *_maps(study), *_densities(study))]


def _of(view: StudyView, at: Selection) -> Iterator[Picture]:
    """What a view takes away."""
    for suffix, chosen in view.choices(at):
        frame = view.frame(chosen)
        if len(frame):
            name, caption = view.key.replace("_", "-") + suffix, view.caption(frame, chosen)
            yield Picture(name, view.figure(frame, chosen, WIDE), caption, frame.drop(columns=list(view.drawn_with)))


def _matched(study: Study, part: Part) -> Iterator[Picture]:
    table = matched.wide(study, collapse.without(part.finals, part.gone))
    for name, x in COSTS.items():
        if {x, "test_acc"} <= set(table) and table[x].notna().any():
            frame = matched.frame(study, table, x, "test_acc", part.curves)
            fig = matched_figure.figure(frame, x, "test_acc")
            yield Picture(f"matched-{name}", fig, matched.caption(study, frame, x), frame.drop(columns=matched.LOOK))


def _correlation(study: Study, part: Part) -> Iterator[Picture]:
    table = matched.wide(study, collapse.without(part.finals, part.gone))
    sharp = next((q for q in ("tr_H", "lam_max", "tr_V") if q in table), None)
    if sharp and "test_acc" in table and table[sharp].notna().sum() >= simpson.FEWEST:
        frame = matched.scatter(study, table, sharp)
        caption = matched.scatter_caption(study, frame)
        shown = frame.drop(columns=matched.LOOK)
        yield Picture("correlation", matched_figure.figure(frame, sharp, "test_acc"), caption, shown)


def _weights(study: Study, part: Part) -> Iterator[Picture]:
    runs = rw_weights.weighted(tables.at_full_batch(part.runs, study.spec.training.batch))
    curves = part.curves[part.curves["run"].isin(runs["run"])]
    frame = rw_weights.frame(study, curves, runs)
    if len(frame):
        fig = lines.figure(frame, rw_weights.AXES, rw_weights.titles(study.spec.training.batch))
        yield Picture("weights", fig, rw_weights.caption(study, frame), frame)
    table = tenths.per_run(curves, runs)
    if len(table):
        frame = tenths.frame(table, cells.of(study))
        of = curves[curves["quantity"].isin(words.TENTHS)]
        fig = tenths.figure(frame, tenths.titles(of))
        yield Picture("tenths", fig, tenths.caption(study, table, frame), frame)


def _noise(study: Study, part: Part) -> Iterator[Picture]:
    batch, finals = study.spec.training.batch, collapse.without(part.finals, part.gone)
    look = cells.of(study)
    chosen = noise_law.plain(finals)
    if (chosen["quantity"] == "tr_V").any():
        frame = noise_law.frame(chosen, look, batch)
        fig = lines.figure(frame, noise_law.AXES, noise_law.TITLES, columns=2)
        yield Picture("noise", fig, noise_law.caption(study, frame, "ci"), frame)
    table = layers.gathered(layers.per_run(chosen))
    if len(table):
        frame = layers.frame(table, layers.parameters(study.spec), look)
        yield Picture("layers", layers.figure(frame), layers.caption(study, frame, "ci"), frame)


def _dynamics(study: Study, part: Part) -> Iterator[Picture]:
    usual = dynamics.one_lambda(study)
    runs = part.runs if usual is None else tables.select(part.runs, {"lam": usual})
    times = dynamics.times(part.curves)
    drawn = [q for q in CURVES if times.get(q, 0) > 1]
    frame = dynamics.frame(study, part.curves, drawn, runs=runs)
    if len(frame):
        fig = lines.figure(frame, dynamics.axes(frame, "Epoch"), dynamics.titles(drawn), columns=2)
        yield Picture("dynamics", fig, dynamics.caption(study, frame, "Epoch", 0.0), frame)


def _maps(study: Study) -> Iterator[Picture]:
    gone = collapse.runs(study.finals, study.runs, study.spec)
    for variant in dict.fromkeys(v for v in study.finals["variant"] if cells.swept(v)):
        finals, runs = (f[f["variant"] == variant] for f in (study.finals, study.runs))
        if runs["rho"].nunique() > 1:
            for quantity in (q for q in ("test_acc", "tr_H") if (finals["quantity"] == q).any()):
                frame = rho_map.frame(finals, runs, quantity, gone)
                caption = rho_map.caption(study, frame, variant, "ci", False)
                yield Picture(f"rho-m-{variant}-{quantity}", rho_map.figure(frame), caption, frame)


def _experiments(study: Study) -> Iterator[Picture]:
    """Of the experiments whose preset is this one study; of the others see `elsewhere`."""
    for e in EXPERIMENTS.values():
        if e.preset == study.spec.preset and len(presets.get(e.preset).sweeps) == 1:
            frame = e.frame(study)
            if len(frame):
                yield Picture(f"experiment-{e.name}", e.figure(frame), e.caption(study, frame), frame)


def elsewhere(study: Study) -> str:
    """Which figure of its preset a study lacks, and where it is; "" for most."""
    for e in EXPERIMENTS.values():
        n = len(presets.get(e.preset).sweeps)
        if e.preset == study.spec.preset and n > 1:
            return (
                f"The figure of the experiment “{e.title}” is of {n} studies together, of which this is one: it is on "
                "the page Experiments, with its own Export."
            )
    return ""


def _densities(study: Study) -> Iterator[Picture]:
    if len(study.density):
        seed = int(study.runs.loc[study.runs["run"].isin(study.density["run"]), "seed"].min())
        frame = density_figure.one_seed(study, seed)
        yield Picture("density", density_figure.figure(frame), density_figure.caption(frame), frame)
