"""What a view is: a figure of a page with its caption and its sentences, in one file.

A file of this folder that has a `VIEW` is registered in `views.VIEWS`: its page shows it by one call of
`sam_dash.ui.show`, the zip of a study holds it, and the tests draw it at every width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.drawing import cells
from sam_dash.results.drawing.cells import Looks
from sam_dash.results.numbers import collapse, tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs.spec import SweepSpec

At = TypeVar("At")
Curves = Callable[[Sequence[str], int], pd.DataFrame]
"""The curves of quantities at a number of points: run, step, epoch, quantity, value; what is recorded at every step as
means over windows, at most so many."""


@dataclass(frozen=True)
class Selection:
    """What a page has picked of a study of one network, and how it is to be shown.

    `finals`, `runs`: the rows that are looked at, of one ρ unless the view is of all (`StudyView.whole`). `interval`: a
    key of `statistics.INTERVALS`. `options`: what else there is to choose, by name; each view says which it knows, and
    what it takes where one is not given.
    """

    study: Study
    finals: pd.DataFrame
    runs: pd.DataFrame
    curves: Curves
    interval: str = "ci"
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def collapsed(self) -> set[str]:
        """The keys of the runs of collapsed cells."""
        return collapse.runs(self.finals, self.runs, self.study.spec)

    @cached_property
    def kept(self) -> pd.DataFrame:
        """The final values of the runs that did not collapse."""
        return collapse.without(self.finals, self.collapsed)

    @cached_property
    def look(self) -> Looks:
        """Names and looks of all cells of the study, whatever is picked of it."""
        return cells.of(self.study)

    @property
    def batch(self) -> int:
        """B."""
        return self.study.spec.training.batch

    @property
    def facet(self) -> str:
        """The setting that panels are told apart by, "" for none."""
        return str(self.options.get("facet", ""))

    @cached_property
    def pens(self) -> Looks:
        """The looks that lines have in panels of one `facet` each: without what the panel says."""
        told = self.facet if self.facet != "variant" else ""
        return cells.of(self.study, without=told) if told else self.look

    @property
    def first(self) -> Selection:
        """This selection of the first of several studies, and of those that share its setting."""
        if not self.study.beside:
            return self
        name, of = self.study.beside[0][1], self.study

        def own(f: pd.DataFrame) -> pd.DataFrame:
            return f[f["study"] == name].drop(columns=["study", "batch"]) if "study" in f else f

        study = replace(of, finals=own(of.finals), runs=own(of.runs), beside=())
        return replace(self, study=study, finals=own(self.finals), runs=own(self.runs))

    def where(self, **values: Any) -> Selection:
        """The rows with these settings; a variant without one of them stays."""
        return replace(self, finals=tables.select(self.finals, values), runs=tables.select(self.runs, values))

    def but(self, **options: Any) -> Selection:
        """This selection with some options set."""
        return replace(self, options={**self.options, **options})


class Missing(NamedTuple):
    """What a study lacks for a view, why it is wanted, and the sweeps that would add it, by the words of a link."""

    title: str
    text: str
    sweeps: Mapping[str, SweepSpec]


class View(ABC, Generic[At]):
    """One figure of what a page has picked, `at`; a new one is a file with a subclass and its instance `VIEW`.

    `key`: in the URL and, with hyphens, in names of files. `title`: its name in a sentence. `page`: the file in
    `pages/` that shows it. `drawn_with`: columns of the frame that are not taken away with it. `silent`: what is said
    where there is nothing to find.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    page: ClassVar[str]
    drawn_with: ClassVar[tuple[str, ...]] = ()
    silent: ClassVar[str] = ""

    @abstractmethod
    def frame(self, at: At) -> pd.DataFrame:
        """All that is drawn, and the CSV of the figure; empty where it was not measured."""

    @abstractmethod
    def figure(self, frame: pd.DataFrame, at: At, columns: int) -> go.Figure:
        """The figure, made from `frame`; `columns`: panels that there is room for side by side, 1 on a telephone."""

    @abstractmethod
    def caption(self, frame: pd.DataFrame, at: At) -> str:
        """What is drawn, over how many seeds, at which settings."""

    def findings(self, frame: pd.DataFrame, at: At) -> list[str]:
        """What the data say, a sentence each."""
        return []

    def headline(self, frame: pd.DataFrame, at: At, found: list[str]) -> str:
        """The one sentence that a page begins with: what the data support most, a tie said to be one."""
        return found[0] if found else self.silent

    def alt(self, frame: pd.DataFrame, at: At, found: list[str]) -> str:
        """The alternative text of the figure: what it is of, and what was found in it."""
        return " ".join([f"{self.title}.", *(found or [self.silent])]).strip()

    def missing(self, at: At) -> Missing | None:
        """What to run where the frame is empty; None where there is nothing to be said."""
        return None

    def name(self, at: At) -> str:
        """The name of its files."""
        return self.key.replace("_", "-")


class StudyView(View[Selection]):
    """A view of a study; `whole`: of all of its ρ together."""

    whole: ClassVar[bool] = False

    def choices(self, at: Selection) -> Iterator[tuple[str, Selection]]:
        """What is taken away of it, and what each adds to the name of its files: as it is before a control is touched.

        Where the controls lead to further figures that a reader will want, those as well.
        """
        yield "", at

    def name(self, at: Selection) -> str:
        """The name of its files, with the study's id."""
        return f"{super().name(at)}-{at.study.id[:6]}"
