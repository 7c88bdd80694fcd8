"""The standard figures of a study, for its bundle: each made from a frame that goes into the bundle beside it."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import captions, figures, style, tables
from sam_dash.results.study import Study


class Picture(NamedTuple):
    """A figure, its caption, and the frame that it was made from."""

    name: str
    figure: go.Figure
    caption: str
    frame: pd.DataFrame


def pictures(study: Study) -> list[Picture]:
    """Sharpness over m, and RW-SAM over lambda where there is one, for each network and rho of the study."""
    return [picture for part in study.parts() for picture in _pictures(part)]


def _pictures(study: Study) -> list[Picture]:
    out = []
    network = f"-{study.network.replace(':', '-')}" if study.network else ""
    batch = study.spec.training.batch
    rhos = study.values("rho")
    for rho in rhos or [None]:
        where = {"rho": rho} if rho is not None else {}
        finals, runs = tables.select(study.finals, where), tables.select(study.runs, where)
        at = network + (f"-rho-{rho:g}" if len(rhos) > 1 else "")
        for x, name, quantities in (("m", "sharpness", style.SHARPNESS), ("lam", "rw-sam", style.RW_SAM)):
            if not any(figures.is_curve(v, x) for v in finals["variant"]):
                continue
            if x == "lam":
                rows = tables.at_full_batch(finals, batch), tables.at_full_batch(runs, batch)
            else:
                rows = tables.without_swept(finals, runs, "lam")
            frame = tables.summary(*rows, quantities)
            if len(frame):
                fig = figures.multiples(frame, x, batch=batch)
                out.append(Picture(f"{name}{at}", fig, captions.caption(study, frame, x), frame))
    return out
