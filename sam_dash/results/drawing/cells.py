"""Name, colour, dash and marker of the cells of a study: the same on every page, figure, table and file of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from sam_dash import variants
from sam_dash.results import words
from sam_dash.results.drawing import style
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study

KEY = [*tables.CELL, *tables.knob_names(), "study"]
LOOK = ("line", "colour", "dash", "marker")
Row = Mapping[str, Any]


def swept(variant: str) -> bool:
    """Whether a variant is swept over m."""
    return variant in variants.REGISTRY and variants.REGISTRY[variant].m_axis


def key_of(row: Row) -> tuple[Any, ...]:
    """The cell of a row, comparable: nan is None."""
    return tuple(None if row.get(k) is None or row[k] != row[k] else row[k] for k in KEY)


class Looks:
    """The names and looks of all cells of a frame of runs, which should be the whole study's.

    Name: the variant, its m, and the knobs of which there are several values. Colour: the variant's own, shaded by its
    m (on a fixed scale, its own at m = B) or, without one, by the knob other than rho with most values. Dash: rho, or
    the knob that is left. Cells that would still be drawn alike get the next free dash and marker, so that those of
    one colour differ in both. Of several studies each is told by the dash, or the dash that is left, and its name.

    `without`: a setting that is told otherwise, as by the panel: cells that differ in it alone are one.
    """

    def __init__(self, frame: pd.DataFrame, batch: int, without: str = "") -> None:
        tables.one_network(frame)
        self.batch, self.without = batch, without
        self._batches = dict(zip(frame["study"], frame["batch"], strict=True)) if "study" in frame else {}
        unique = frame[tables.settings(frame)].drop_duplicates()
        unique = unique.assign(**{without: None}).drop_duplicates() if without in unique else unique
        rows = tables.records(unique)
        knobs = tables.settings(frame)[2:]
        several = {k for k in knobs if unique.groupby("variant")[k].nunique().max() > 1}
        if "study" in unique and unique["study"].nunique() > 1:
            several.add("study")
        self.varied = [k for k in knobs if k in several]
        self._levels = {
            str(v): {k: list(dict.fromkeys(in_order(of[k].dropna()))) for k in self.varied}
            for v, of in unique.groupby("variant")
        }
        self._rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            self._rows.setdefault(self._key(row), row | self._look(row, self._levels[row["variant"]]))

    def _key(self, row: Row) -> tuple[Any, ...]:
        return key_of({**row, self.without: None})

    def b(self, row: Row) -> int:
        """The batch size of a row's study."""
        return int(self._batches.get(row.get("study"), self.batch))

    def _look(self, row: dict[str, Any], levels: dict[str, list[Any]]) -> dict[str, str]:
        of = style.look(row["variant"])
        ranks = {k: values.index(row[k]) / (len(values) - 1) for k, values in levels.items() if len(values) > 1}
        free = sorted((k for k in ranks if k not in ("rho", "study")), key=lambda k: -len(levels[k]))
        shade = place(row["variant"], row["m"], self.b(row))
        if not swept(row["variant"]) and free:
            shade = ranks[free.pop(0)]
        colour = style.shade(of.colour, shade)
        dashed = next((k for k in ("rho", "study") if k in ranks), free[0] if free else None)
        turn = levels[dashed].index(row[dashed]) if dashed else 0
        taken = [r for r in self._rows.values() if r["colour"] == colour]
        dash = _first(style.turned(style.DASHES, of.dash, turn), [r["dash"] for r in taken])
        marker = _first(style.markers(of.marker, turn), [r["marker"] for r in taken])
        return {"line": self.name(row), "colour": colour, "dash": dash, "marker": marker}

    def name(self, row: Row, without: str = "") -> str:
        """The name of a row's cell; of a line over `without`, which is then left out."""
        hidden = ("study", without, self.without)
        knobs = {k: row[k] for k in self.varied if k not in hidden and row.get(k) is not None and row[k] == row[k]}
        told = row["study"] if "study" in self.varied and "study" not in (without, self.without) else ""
        m = None if "m" in (without, self.without) else row["m"]
        extra = ", ".join(filter(None, (words.knob_text(knobs), told)))
        return words.cell_name(row["variant"], m, self.b(row), extra)

    def __getitem__(self, row: Row) -> dict[str, Any]:
        """The settings of a row's cell, and its `LOOK`."""
        return self._rows[self._key(row)]

    def __contains__(self, row: Row) -> bool:
        """Whether it is of these."""
        return self._key(row) in self._rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The cells in the order of their runs."""
        return iter(self._rows.values())

    def along(self, rows: list[dict[str, Any]], x: str) -> dict[str, str]:
        """The look of a line over m or over a knob: its variant's colour, shaded by its ρ, and dash and marker of its
        cell at m = B.
        """
        first = next((r for r in rows if r["m"] == self.b(r)), rows[0])
        of, rhos = self[first], self._levels[first["variant"]].get("rho", [])
        share = rhos.index(first["rho"]) / (len(rhos) - 1) if len(rhos) > 1 and x != "rho" else 0.0
        return {
            "line": self.name(first, x), "colour": style.shade(style.look(first["variant"]).colour, share),
            "dash": of["dash"], "marker": of["marker"],
        }  # fmt: skip

    def dressed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` with the columns of `LOOK`."""
        found = [self[row] for row in tables.records(frame[tables.settings(frame)])]
        return frame.assign(**{k: [of[k] for of in found] for k in LOOK})


def of(study: Study, also: pd.DataFrame | None = None, without: str = "") -> Looks:
    """The looks of a study's cells, and after them of the runs or values of further ones of its problem."""
    runs = study.runs
    if also is not None:
        new = also[~also["run"].isin(runs["run"])]
        runs = pd.concat([runs, new], ignore_index=True) if len(new) else runs
    return Looks(runs.assign(network=None), study.spec.training.batch, without)


def place(variant: str, m: float | None, batch: int) -> float:
    """Where m stands between B (0) and 1 (1), in doublings; 0 for a variant that is not swept over m."""
    if not swept(variant) or m is None or not 0 < m < batch:
        return 0.0
    return 1 - math.log2(m) / math.log2(batch)


def at(variant: str, m: float | None, batch: int) -> dict[str, str]:
    """Colour, dash and marker of a variant at an m, where nothing else tells cells apart."""
    of = style.look(variant)
    return of._asdict() | {"colour": style.shade(of.colour, place(variant, m, batch))}


def in_order(values: pd.Series[Any]) -> list[Any]:
    """The values of a setting, numbers by size; names of studies as they come."""
    return list(values) if values.name == "study" else sorted(values)


def _first(wanted: list[str], taken: list[str]) -> str:
    return next((w for w in wanted if w not in taken), wanted[0])
