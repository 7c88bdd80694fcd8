"""Sharpness, noise and accuracy over m: a panel a quantity, all methods in each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results import words
from sam_dash.results.drawing import captions, figures, overlay, sentences
from sam_dash.results.numbers import collapse, tables
from sam_dash.results.views.view import Selection, StudyView


class Multiples(StudyView):
    """Aligned panels over the axis `x`. Options: `quantities`, one panel each; `against`, the cell that differences are
    taken from (column -> value), with its `name`; `facet`, by which panels are told apart.
    """

    x: ClassVar[str]
    usual: ClassVar[tuple[str, ...]]

    def rows(self, at: Selection) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The final values and runs that belong on this axis."""
        return tables.without_swept(at.finals, at.runs, "lam")

    def frame(self, at: Selection) -> pd.DataFrame:
        """`tables.summary`, with the column `best` of what a ring is round, and `collapsed` where something has."""
        finals, runs = self.rows(at)
        against = at.options.get("against")
        quantities = words.all_scored(at.options.get("quantities", self.usual), set(finals["quantity"]))
        frame = tables.summary(finals, runs, quantities, at.interval, against)
        if not against:
            kept = collapse.without_cells(frame, at.collapsed)
            rings = overlay.rings(kept, at.look) if tables.overlaid(frame) else sentences.best(kept, self.x, at.look)
            frame = frame.assign(best=frame.index.isin(rings))
        return collapse.marked(frame, at.collapsed)

    def choices(self, at: Selection) -> Iterator[tuple[str, Selection]]:
        """It, where there is a curve over the axis."""
        if any(figures.is_curve(v, self.x) for v in self.rows(at)[0]["variant"]):
            yield "", at

    def figure(self, frame: pd.DataFrame, at: Selection, columns: int) -> go.Figure:
        """A panel a quantity."""
        name = at.options.get("name", "")
        return figures.multiples(frame, self.x, at.pens, columns=columns, difference=name, facet=at.facet)

    def caption(self, frame: pd.DataFrame, at: Selection) -> str:
        """What is drawn, of which runs, and what is not."""
        dots = figures.dotted(frame, self.x, at.pens, at.facet)
        return captions.caption(at.study, frame, self.x, at.interval, at.options.get("name", ""), dots)

    def findings(self, frame: pd.DataFrame, at: Selection) -> list[str]:
        """The ends of the axis compared, of what did not collapse; of several ρ or studies the best of all."""
        kept = collapse.without_cells(frame, at.collapsed)
        if tables.overlaid(kept):
            return overlay.findings(kept, at.look, at.options.get("name", ""))
        return sentences.findings(kept, self.x, at.look, at.options.get("name", ""))

    def headline(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """The trend and the best place on the axis; of differences the first of the sentences."""
        kept = collapse.without_cells(frame, at.collapsed)
        if tables.overlaid(kept):
            return overlay.headline(kept, at.look, at.options.get("name", "")) or super().headline(frame, at, found)
        if at.options.get("against"):
            return super().headline(frame, at, found)
        return sentences.headline(kept, self.x, at.look) or super().headline(frame, at, found)

    def alt(self, frame: pd.DataFrame, at: Selection, found: list[str]) -> str:
        """The quantities, the axis and the findings."""
        kept = collapse.without_cells(frame, at.collapsed)
        if tables.overlaid(kept):
            return super().alt(frame, at, found)
        return sentences.alt(kept, self.x, at.look, at.options.get("name", ""))


class Sharpness(Multiples):
    """Over m; what is swept over λ is left out and has a figure of its own."""

    key, title, page = "sharpness", "Sharpness over m", "sharpness"
    x, usual = "m", words.PANELS
    silent = "Fewer than two m to compare."


VIEW = Sharpness()
