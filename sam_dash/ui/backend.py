"""The store and the engine, one of each for the whole server."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from sam_dash.results.numbers import parts, study
from sam_dash.results.numbers.study import Study
from sam_dash.runs import launch, marks
from sam_dash.runs.recording import sweep_from
from sam_dash.runs.spec import SpecError, SweepSpec
from sam_dash.runs.store import Store
from sam_dash.runs.tables import StoreError


@st.cache_resource(show_spinner=False)
def _store() -> Store:
    return Store()


def store() -> Store:
    """The store at SAM_DASH_STORE; a page that cannot have it says why and ends here."""
    try:
        if not _store().there():  # deleted or replaced: what is there now is opened
            _store.clear()
        return _store()
    except StoreError as error:
        st.error(str(error), icon=":material/database_off:")
        st.stop()


@st.cache_resource(show_spinner=False, validate=lambda handle: bool(handle.alive), on_release=lambda h: h.close())
def _engine(url: str) -> Any:
    return launch.Kept(url)


def engine_note() -> None:
    """Start the engine if it does not run, and say so if it cannot."""
    try:
        _engine(store().url)
    except (OSError, RuntimeError) as error:
        st.warning(f"The engine could not be started, so runs stay in the queue: {error}", icon=":material/power_off:")


@st.cache_data(max_entries=16, show_spinner=False)
def _study(
    _store: Store, url: str, sweep_id: str, stamp: tuple[tuple[str, int], ...], hidden: tuple[str, ...], whole: bool
) -> Study | None:
    return study.from_store(_store, sweep_id, hidden, whole)


@st.cache_data(max_entries=16, show_spinner=False)
def _bundled(folder: str, stamp: float) -> Study | None:
    return study.from_folder(Path(folder))


def bundled(folder: Path) -> Study | None:
    """A study that ships with the project; None where it is missing."""
    path = folder / "runs.csv"
    return _bundled(str(folder), path.stat().st_mtime) if path.is_file() else None


def shipped(folder: Path) -> Study | None:
    """What ships of an experiment, its studies together; None where one is missing."""
    found = [bundled(part) for part in parts.folders(folder)]
    there = [study for study in found if study is not None]
    return parts.together(there) if there and len(there) == len(found) else None


def example() -> Study | None:
    """The bundled example; None where it is missing."""
    return bundled(study.EXAMPLE)


@lru_cache(maxsize=256)
def _spec(text: str) -> SweepSpec | str:
    try:
        return sweep_from(json.loads(text))
    except SpecError as error:
        return str(error)


def spec(sweep: dict[str, Any]) -> SweepSpec | None:
    """The specification of a row of `Store.sweeps`, checked once; None for one of another version."""
    found = _spec(json.dumps(sweep["spec"]))
    return found if isinstance(found, SweepSpec) else None


def unreadable(sweep: dict[str, Any]) -> str:
    """Why `spec` is None; "" where it is not."""
    found = _spec(json.dumps(sweep["spec"]))
    return found if isinstance(found, str) else ""


def load(sweep: dict[str, Any], with_hidden: bool = False) -> Study | None:
    """The study of a row of `Store.sweeps`; read again when a run has changed its status, else from the cache.

    Hidden runs are not in it, nor recorded ones that were made again, unless they are asked for.
    """
    hidden = () if with_hidden else tuple(sorted(marks.hidden(store())))
    stamp = tuple(sorted(sweep["counts"].items()))
    found = _study(store(), store().url, sweep["id"], stamp, hidden, with_hidden)
    return found and replace(found, called=sweep["name"])  # which may have been changed since
