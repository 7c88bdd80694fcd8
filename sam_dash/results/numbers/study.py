"""A study: the runs of one sweep with their final values, from the store or from a folder that `export` wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from sam_dash.results import words
from sam_dash.results.numbers import density, tables
from sam_dash.runs.recording import RecordedStudy, sweep_from
from sam_dash.runs.report import ACTIVE, STATUSES
from sam_dash.runs.spec import SweepSpec

EXAMPLE = Path(__file__).parents[1] / "example"


class Source(Protocol):
    """What is read of a store."""

    def sweep(self, sweep_id: str) -> SweepSpec | None: ...  # noqa: D102
    def runs(self, sweep_id: str | None = None) -> list[dict[str, Any]]: ...  # noqa: D102
    def made(self, sweep_id: str) -> dict[str, int]: ...  # noqa: D102
    def called(self, sweep_id: str) -> str: ...  # noqa: D102
    def measurements(  # noqa: D102
        self,
        sweep_id: str | None = None,
        keys: Sequence[str] | None = None,
        *,
        quantities: Sequence[str] | None = None,
        final: bool = False,
    ) -> list[dict[str, Any]]: ...
    def series(  # noqa: D102
        self, keys: Sequence[str], quantities: Sequence[str] | None = None
    ) -> dict[str, dict[str, np.ndarray]]: ...


@dataclass(frozen=True)
class Study:
    """`runs`: one row a run. `finals`: one row a finished run and quantity. `hidden`: runs left out of both;
    `repeated`: recorded ones left out because a later one of the same cell and seed has finished.

    `density`: the spectral density of each finished run, as from `results.density.rows`. `network`: of a part that `at`
    has taken out, which one; `hidden_at`: `hidden` by network. `made`: how many finished runs were made how.
    `called`: the name that it was given. `beside`: of several as one (`beside.together`) each, with its name.
    """

    id: str
    spec: SweepSpec
    runs: pd.DataFrame
    finals: pd.DataFrame
    hidden: int = 0
    density: pd.DataFrame = field(default_factory=pd.DataFrame)
    network: str = ""
    hidden_at: Mapping[str, int] = field(default_factory=dict)
    repeated: int = 0
    made: Mapping[str, int] = field(default_factory=dict)
    called: str = ""
    beside: tuple[tuple[Study, str], ...] = ()

    @property
    def recorded(self) -> bool:
        """Whether its runs were recorded in loops of their own."""
        return isinstance(self.spec, RecordedStudy)

    @property
    def name(self) -> str:
        """For a heading: the name that it was given, else the preset's, or data set and network."""
        return self.called or name(self.spec)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of runs per status, in the order of a run's life, zeros left out."""
        have = Counter(self.runs["status"]) if len(self.runs) else Counter()
        return {s: have[s] for s in STATUSES if have[s]}

    @property
    def active(self) -> bool:
        """Whether some runs have not ended."""
        return any(s in self.counts for s in ACTIVE)

    @property
    def excluded(self) -> int:
        """Runs that ended without a result."""
        return sum(n for s, n in self.counts.items() if s not in (*ACTIVE, "done"))

    def values(self, knob: str) -> list[Any]:
        """The values that a knob takes in this study, sorted."""
        return sorted(set(self.finals[knob].dropna())) if knob in self.finals else []

    def at(self, network: str) -> Study:
        """The part with that network: cells are variant, m and knobs, and must not pool networks."""
        problem = replace(self.spec.problem, network=network)
        runs = self.runs[self.runs["network"] == network].reset_index(drop=True)
        finals = self.finals[self.finals["network"] == network].reset_index(drop=True)
        density = self.density[self.density["run"].isin(runs["run"])] if len(self.density) else self.density
        return replace(
            self, spec=replace(self.spec, problem=problem, networks=()), runs=runs, finals=finals, density=density,
            network=network, hidden=self.hidden_at.get(network, 0),
        )  # fmt: skip

    def parts(self) -> list[Study]:
        """The study by network: itself where it has one."""
        return [self.at(name) for name in self.spec.networks] or [self]


def name(spec: SweepSpec) -> str:
    """The preset's name, or data set and network."""
    return spec.preset or " · ".join(filter(None, (dataset(spec), networks(spec))))


MOST = 3
"""Variants that are named one by one in a line on a study; of more, how many."""


def differs(spec: SweepSpec) -> str:
    """What differs between a study's runs, in a line: "SAM, RW-SAM · 2 ρ · 3 m · 5 seeds"."""
    names = [words.title(v) for v in spec.variants]
    symbols = {name: knob.symbol for name, knob in words.knobs().items()}
    axes = [(len(values), symbols.get(name, name)) for name, values in spec.knobs.items()]
    axes += [(len(spec.m), "m"), (len(spec.networks), "networks"), (len(spec.seeds), "seeds")]
    parts = [", ".join(names) if len(names) <= MOST else f"{len(names)} variants"]
    return " · ".join([*parts, *(f"{n} {what}" for n, what in axes if n > 1)])


def networks(spec: SweepSpec) -> str:
    """The network, or the first and the last of several."""
    names = [p.network for p in spec.problems]
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def dataset(spec: SweepSpec) -> str:
    """A data set's name; for a file of the user's own that without its folder, for recorded runs the study's."""
    return spec.problem.title


def from_store(store: Source, sweep_id: str, hidden: Collection[str] = (), with_repeated: bool = False) -> Study | None:
    """The study of a sweep in the store without the runs in `hidden`; None if there is no such sweep.

    Of recorded runs that were finished several times in one cell and with one seed the last counts.
    """
    spec = store.sweep(sweep_id)
    if spec is None:
        return None
    rows = store.runs(sweep_id)
    runs = tables.runs_frame(row for row in rows if row["key"] not in hidden)
    gone = Counter(row["spec"]["problem"]["network"] for row in rows if row["key"] in hidden)
    repeated = set() if with_repeated or not isinstance(spec, RecordedStudy) else _repeated(runs)
    runs = runs[~runs["run"].isin(repeated)].reset_index(drop=True)
    done = list(runs.loc[runs["status"] == "done", "run"])
    last = tables.curves_frame(store.measurements(keys=done, final=True))
    means = tables.series_means(store.series(done, list(words.SERIES)))
    spectra, last = density.split(last)
    finals = tables.finals(runs, last, means)
    return Study(
        sweep_id,
        spec,
        runs,
        finals,
        gone.total(),
        spectra,
        hidden_at=dict(gone),
        repeated=len(repeated),
        made=store.made(sweep_id),
        called=store.called(sweep_id),
    )


def _repeated(runs: pd.DataFrame) -> set[str]:
    """The finished runs of which a later one has the same settings and seed."""
    done = runs[runs["status"] == "done"]
    again = done.duplicated([*tables.settings(done), "seed"], keep="last")
    return set(done.loc[again, "run"])


def from_folder(folder: Path) -> Study | None:
    """The study that `sam_dash export` wrote there; None if there is none that this version can read."""
    try:
        spec = _spec(json.loads((folder / "config.json").read_text()))
        table = pd.read_csv(folder / "runs.csv", dtype={"run": str})
        curves, estimators = read_curves(folder), read_estimators(folder)
    except (OSError, ValueError):  # a SpecError is a ValueError
        return None
    status = dict(zip(table["run"], table["status"], strict=True))
    seconds = dict(zip(table["run"], table["seconds"], strict=True))
    runs = tables.runs_frame(
        {"key": r.key, "spec": r.to_dict(), "status": status[r.key], "seconds": seconds[r.key]}
        for r in spec.runs()
        if r.key in status
    )
    if estimators is not None:
        curves = curves.merge(
            estimators.drop(columns=["epoch", "value", "stderr"]), "left", ["run", "step", "quantity"]
        )
    rows = tables.curves_frame(tables.records(curves))
    per_step = rows["quantity"].isin(words.RECORDED)
    means = rows[rows["quantity"].isin(words.SERIES)].groupby(["run", "quantity"])["value"].mean().reset_index()
    last = rows[~per_step]
    last = last[last["step"] == last.groupby("run")["step"].transform("max")]
    spectra, last = density.split(last)
    return Study("example", spec, runs, tables.finals(runs, last, means), 0, spectra)


def read_curves(folder: Path) -> pd.DataFrame:
    """The curves in a folder, compressed or not."""
    return _read(folder, "curves")


def read_estimators(folder: Path) -> pd.DataFrame | None:
    """How the numbers in a folder were measured; None in an export from before that was written."""
    return _read(folder, "estimators") if any(folder.glob("estimators.csv*")) else None


def _read(folder: Path, name: str) -> pd.DataFrame:
    plain = folder / f"{name}.csv"
    return pd.read_csv(plain if plain.is_file() else folder / f"{name}.csv.gz", dtype={"run": str})


def _spec(config: Any) -> SweepSpec:
    """The sweep in a config.json; an export of several holds the first's."""
    return sweep_from(config)
