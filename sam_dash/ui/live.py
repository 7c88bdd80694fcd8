"""The live view of a study: progress with ETA, counts per state, curves, runs, Stop; then the finished figure."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pandas as pd
import streamlit as st

from sam_dash.results import words
from sam_dash.results.drawing import cells, curves
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.runs.report import ACTIVE, STATUSES
from sam_dash.runs.store import Store
from sam_dash.ui import pick, signal, states, table

SECONDS = 1.0


@st.cache_resource(show_spinner=False, max_entries=200)
def _first_look(sweep_id: str, ended: int) -> dict[str, float]:
    """When this server first saw a study with progress and how far it was: what an ETA is counted from."""
    return {}


def progress(runs: list[dict[str, Any]]) -> float:
    """Share of all steps that are done; a run that has ended counts in full."""
    total = sum(r["steps"] for r in runs) or 1
    return sum(r["step"] if r["status"] in ACTIVE else r["steps"] for r in runs) / total


def eta(share: float, first: dict[str, float], now: float) -> float | None:
    """Seconds left, from the speed since the first look; None before that says anything."""
    if share <= first["share"] or now - first["time"] < 2 or share - first["share"] < 0.02:
        return None
    return (1 - share) * (now - first["time"]) / (share - first["share"])


def left(seconds: float | None) -> str:
    """A time to wait, rounded: never more exact than it is."""
    if seconds is None:
        return ""
    if seconds < 3:
        return " · finishing"
    step = 5 if seconds < 90 else 60
    return f" · about {words.duration(max(step, step * round(seconds / step)))} left"


def text(runs: list[dict[str, Any]], share: float, remaining: float | None) -> str:
    """The line on the progress bar."""
    ended = sum(r["status"] not in ACTIVE for r in runs)
    measuring = any(r["status"] == "running" and r["phase"] == "measure" for r in runs)
    waiting = not any(r["status"] == "running" for r in runs)
    phase = " · waiting for the engine" if waiting else " · measuring" if measuring else ""
    return f"{ended} of {len(runs)} runs finished · {100 * share:.0f} %{phase}{left(remaining)}"


def view(store: Store, study: Study) -> None:
    """Follow a study that is running, in a fragment of its own; once it has ended, start the page over.

    Recorded runs are followed as well; they are stopped where they were started.

    A page with it must reach its end: `st.stop()` drops what the fragment was asked while the page was drawn, a click
    on Stop for one.
    """

    signal.running()

    @st.fragment(run_every=SECONDS)
    def monitor() -> None:
        runs = store.runs(study.id)
        if not any(r["status"] in ACTIVE for r in runs):
            signal.tell(study, Counter(r["status"] for r in runs))
            st.rerun()
        if all(r["steps"] for r in runs):
            share, now = progress(runs), time.monotonic()
            first = _first_look(study.id, 0)
            if not first and any(r["status"] == "running" for r in runs):
                first.update(time=now, share=share)
            remaining = eta(share, first, now) if first else None
            st.progress(min(1.0, share), text=text(runs, share, remaining))
        with st.container(horizontal=True, vertical_alignment="center"):
            counted = {s: sum(r["status"] == s for r in runs) for s in STATUSES}
            states.badges({s: n for s, n in counted.items() if n})
            if not study.recorded:
                st.space("stretch")
                stop_one(store, runs, study.spec.training.batch)
                st.button(
                    "Stop study", key="stop", icon=":material/stop:", shortcut="Shift+S", on_click=store.stop,
                    kwargs={"sweep_id": study.id},
                    help="The whole study: queued runs are dropped, running ones stop soon.",
                )  # fmt: skip
        frame = tables.runs_frame(runs)
        drawn = in_training(frame)
        look = cells.Looks(frame.assign(network=None), study.spec.training.batch)
        if study.spec.networks:
            st.caption(f"Curves of {drawn['network'].iloc[0]}, which is furthest of those in training.")
        score = study.spec.problem.score
        usual = (f"test_{score}" if score else "test_loss", "train_loss")
        shown = logged(store.quantities(study.id)) if study.recorded else usual
        measured = tables.curves_frame(store.measurements(study.id, quantities=shown))
        for column, quantity in zip([c for _ in shown[::2] for c in st.columns(2)], shown, strict=False):
            with column:
                chart(drawn, measured, quantity, look)
        run_table(frame, study.spec.training.batch, store.queue())

    monitor()


def elsewhere(store: Store) -> None:
    """Links to the studies that run now, where none of them is shown."""
    active = [sweep for sweep in store.sweeps() if any(sweep["counts"].get(s) for s in ACTIVE)]
    for sweep in active[:3]:
        st.page_link(
            "pages/run.py", label=f"Watch {pick.label(sweep)}", icon=":material/monitoring:",
            query_params={"study": sweep["id"]},
        )  # fmt: skip


def logged(quantities: list[str]) -> tuple[str, ...]:
    """Which curves of what a loop has logged are drawn, at most four: ours first."""
    ours = [q for q in ("test_acc", "train_loss", "tr_H", "lam_max", "tr_V", *words.QUANTITIES) if q in quantities]
    others = [q for q in quantities if "@" not in q and q != "train_seconds"]
    return tuple(dict.fromkeys([*ours, *others]))[:4]


def in_training(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs of one network, as means must not pool several: that of the running run that is furthest."""
    running = frame[frame["status"] == "running"].sort_values("step", ascending=False)
    first = running if len(running) else frame
    return frame[frame["network"] == first["network"].iloc[0]]


def chart(runs: pd.DataFrame, measured: pd.DataFrame, quantity: str, look: cells.Looks) -> None:
    """A live curve. Vega and not Plotly: Plotly is rebuilt from scratch at every tick."""
    frame = curves.by_cell(tables.curve_means(runs, measured, quantity), look)
    st.altair_chart(curves.chart(frame, quantity), height=260, key=f"live_{quantity}", alt=curves.alt(frame, quantity))


def stop_one(store: Store, runs: list[dict[str, Any]], batch: int) -> None:
    """Stop a single run of those that have not ended."""
    frame = tables.runs_frame(r for r in runs if r["status"] in ACTIVE)
    of = [f", {name}" if frame["network"].nunique() > 1 else "" for name in frame["network"]]
    rows = zip(tables.records(frame), of, strict=True)
    names = {r["run"]: f"{cell(r, batch)}{network}, seed {r['seed']} ({r['status']})" for r, network in rows}
    with st.popover("Cancel one run", icon=":material/stop_circle:"):
        chosen = st.selectbox(
            "Run", list(names), format_func=lambda key: names.get(key, key), key="stop_which", placeholder="None left"
        )
        st.button(
            "Cancel this run", key="stop_one", icon=":material/stop:", disabled=chosen is None, on_click=store.stop,
            kwargs={"keys": [chosen]}, help="The others go on. It can be resumed later.",
        )  # fmt: skip


def run_table(frame: pd.DataFrame, batch: int, queue: list[str]) -> None:
    """One row a run with its progress and its place in the queue, which all studies share."""
    place = {key: i for i, key in enumerate(queue, 1)}
    share = frame["step"] / frame["steps"].where(frame["steps"] > 0)
    shown = pd.DataFrame(
        {
            "Run": [cell(r, batch) for r in tables.records(frame)],
            "Seed": frame["seed"],
            "Status": frame["status"],
            "In the queue": [f"{place[key]} of {len(queue)}" if key in place else "–" for key in frame["run"]],
            "Progress": share.where(frame["status"] != "done", 1.0),
            "Step": frame["step"],
            "Message": frame["error"].fillna(""),
        }
    )
    if frame["network"].nunique() > 1:
        shown.insert(1, "Network", frame["network"])
    table.show(
        shown, "The runs of this study with their progress", height=240, key="live_runs",
        column_config={"Progress": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)},
    )  # fmt: skip


def cell(row: dict[str, Any], batch: int) -> str:
    """The name of a run's cell with its numeric knobs."""
    knobs = {n: row[n] for n in tables.knob_names() if isinstance(row.get(n), float) and row[n] == row[n]}
    return words.cell_name(row["variant"], row["m"], batch, words.knob_text(knobs))
