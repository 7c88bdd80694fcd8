"""Parts of pages: m-sharpness at any m, and what is said about collapsed settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import captions, cells, columns, overlay
from sam_dash.results.numbers import further, statistics, tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import density_figure, matched_figure, noise_law, simpson
from sam_dash.results.views.view import Selection
from sam_dash.ui import figure, links, markdown, pool, show, table


def each_line(at: Selection, table: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """A table over m of what did not collapse; of several ρ or studies one of each line, as they must not be pooled."""
    return overlay.each_line(at.kept, at.look, "m", table) if tables.overlaid(at.kept) else table(at.kept)


def at_this_rho(finals: pd.DataFrame) -> str:
    """For example " at this ρ = 0.1"."""
    values = sorted(finals["rho"].dropna().unique())
    at = "at" if len(values) > 1 else "at this"
    return f" {at} ρ = {captions.listed(words.number(v) for v in values)}" if values else ""


def no_trajectory(study: Study, finals: pd.DataFrame, y: str) -> None:
    """Why there is no early-stopped SGD to compare with, and what to run."""
    name, spec = words.quantity(y).name, study.spec
    if set(finals["variant"]) == {"sgd"}:
        st.caption("SGD alone is left: there is nothing to compare it with.")
        return
    if "sgd" not in set(finals["variant"]):
        sweep = further.extended(study, variants=("sgd", *spec.variants))
        links.missing("This study has no SGD", "SGD's own trajectory is the baseline.", {"Add SGD to it": sweep})
        return
    if y.startswith("gap_") or "@" in y:
        st.caption(f"{name} has no trajectory of its own: choose another quantity.")
        return
    every = max(1, spec.training.epochs // 16)
    sweep = further.extended(study, measures={"every": every})
    links.missing(
        f"{name} was measured at the end of training only", "SGD stopped early needs it along the way.",
        {f"Set up this study, measured {captions.every(every)}": sweep},
    )  # fmt: skip


def annealed(study: Study, runs: pd.DataFrame, y: str) -> None:
    """SGD runs of fewer epochs in the store, which end with their learning rate at 0; or a link that starts them."""
    known = pool.shorter_sgd(study, y)
    if known.empty:
        few = max(1, round(study.spec.training.epochs / 8))
        training = replace(study.spec.training, epochs=few)
        seeds = tuple(sorted({int(s) for s in runs["seed"]}))
        links.run(
            f"Set up SGD of {few} epoch{'s' * (few != 1)}, annealed",
            replace(study.spec, variants=("sgd",), m=(), knobs={}, training=training, seeds=seeds, preset=""),
        )
        return
    rows = []
    for epochs, of in known.groupby("epochs"):
        mean, loss = statistics.mean(of[y]), statistics.mean(of["train_loss"])
        row = {"SGD of so many epochs": epochs, **columns.spread(words.labelled(y), mean, y)}
        rows.append(row | {"Train loss": loss.mean, "Seeds": mean.n})
    table.show(pd.DataFrame(rows), "SGD of fewer epochs, annealed, from the store")


def correlations(at: Selection) -> None:
    """The scatter of sharpness and accuracy, and the correlations at each level."""
    view = simpson.VIEW
    left, right = st.columns(2, gap="medium")
    with left:
        found = show.drawn(view, at)
    if found is None:
        links.missing(*view.missing(at))
        return
    with right:
        y = view.y(at)
        levels = simpson.shown(simpson.correlations(matched_figure.table(at), view.x(at), y), y)
        table.show(levels, f"Correlations pooled and within. {' '.join(found)}")
        st.markdown(markdown.unlinked(" ".join(found)))
        st.caption(
            "Intervals by Fisher's z take runs for independent; runs that share a seed are not quite. Within settings: "
            "deviations from each setting's mean, so that only seeds differ. Collapsed settings are left out."
        )


def noise_scale(study: Study, finals: pd.DataFrame) -> None:
    """The table of noise scales, or how to get it."""
    rows = noise_law.scales(finals)
    if rows.empty:
        links.missing(
            "‖G‖² is not in this study", "Studies made before it was measured lack it; newer runs have it.",
            {"Set up this study again with m-sharpness": further.extended(study, measures={"what": ("m_sharpness",)})},
        )  # fmt: skip
        return
    table.show(noise_law.scale_table(rows, cells.of(study)), "Noise scale of every setting with its interval")
    for line in noise_law.scale_findings(rows, cells.of(study)):
        st.markdown(markdown.unlinked(line))
    st.caption(noise_law.SCALE_NOTE)
    name = f"noise-scale-{study.id[:6]}.csv"
    st.download_button("CSV", figure.csv(rows), name, "text/csv", key="csv_scale", on_click="ignore",
                       icon=":material/download:")  # fmt: skip


def spectrum(at: Selection) -> None:
    """The spectral density of the Hessian of one seed's runs, where it was measured; else how to get it."""
    st.header("Spectral density", anchor=False)
    if seeds := density_figure.seeds(at.study):
        at = at.but(
            seed=st.selectbox("Seed of the spectrum", seeds, key="spectrum_seed", width=200, bind="query-params")
        )
    show.view(density_figure.VIEW, at)
