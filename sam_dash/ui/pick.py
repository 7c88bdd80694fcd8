"""The study picker: a select box whose choice is in the URL and is kept from page to page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.runs.recording import is_recorded
from sam_dash.runs.report import ACTIVE
from sam_dash.ui import backend, markdown

EXAMPLE, ALL = "example", "All"
BOX, KEPT, TURN = "_study_box", "_study", "_study_turn"


def label(sweep: dict[str, Any]) -> str:
    """For example "digits · SGD, SAM · 7 m · 27 runs · 24 Nov 06:49 · ada@example.org · 8f3a12"; the name that it was
    given, if it was, and the person where one is known.
    """
    spec = backend.spec(sweep)
    name = sweep["name"] or (studies.name(spec) if spec else sweep["preset"] or "study of another version")
    name += f" · {studies.differs(spec)}" if spec else ""
    total = sum(sweep["counts"].values())
    made = datetime.fromtimestamp(sweep["created"]).strftime("%-d %b %H:%M")
    now = " · running" if any(sweep["counts"].get(s) for s in ACTIVE) else ""
    whose = f" · {sweep['person']}" if sweep["person"] else ""
    kind = "recorded run" if is_recorded(sweep["id"]) else "run"
    return f"{name} · {total} {kind}{'s' * (total != 1)}{now} · {made}{whose} · {sweep['id'][:6]}"


def choose(study_id: str) -> None:
    """Make a study the chosen one; for callbacks.

    The box is a new one from then on: a slow browser may still send what the old one showed, as if it were chosen.
    """
    _keep(study_id)
    st.session_state[TURN] = _turn() + 1


def one_network(study: Study, every: bool = False) -> Study:
    """The study, or of several networks the part of the one chosen: means over seeds must not pool networks.

    `every`: all of them may be chosen, and the study is given as it is.
    """
    names = study.spec.networks
    if not names:
        return study
    chosen = st.selectbox(
        "Network", [*names, *[ALL] * every], key="at_network", bind="query-params",
        help="All: each has lines of its own." if every else "One at a time; the Experiments compare them.",
    )  # fmt: skip
    if every and chosen == ALL:
        return study
    return study.at(chosen if chosen in names else names[0])


def _chosen(turn: int) -> None:
    if turn == _turn():
        _keep(st.session_state[f"{BOX}_{turn}"])


def _turn() -> int:
    return int(st.session_state.get(TURN, 0))


def _keep(study_id: str) -> None:
    st.session_state[KEPT] = study_id
    st.query_params["study"] = study_id


def study(with_example: bool = True, with_hidden: bool = False, where: DeltaGenerator | None = None) -> Study | None:
    """Show the picker and return what it points at; None if there is nothing to choose from.

    `where`: a row that it stands in, without its label.

    The URL's ?study= comes first, then what was chosen on another page, then the newest. It is kept by hand and
    not by bind=, which writes the visible label into the URL; the label changes, a link must not.
    """
    sweeps = {s["id"]: s for s in backend.store().sweeps()}
    example = backend.example()
    labels = {key: label(s) for key, s in sweeps.items()}
    if example is not None and with_example:
        labels[EXAMPLE] = "Example (bundled)"
    wanted = st.query_params.get("study") or st.session_state.get(KEPT)
    wanted = None if wanted == EXAMPLE and not with_example else wanted
    if wanted and wanted not in labels:
        instead = " This is the newest one instead." if labels else ""
        st.warning(
            f"There is no study “{markdown.literal(wanted[:40])}” in this store.{instead}", icon=":material/link_off:"
        )
    if not labels:
        return None
    current = str(wanted) if wanted in labels else next(iter(labels))
    turn = _turn()
    box = f"{BOX}_{turn}"
    st.session_state[box] = current
    (where or st).selectbox(
        "Study", list(labels), format_func=labels.__getitem__, key=box, on_change=_chosen, args=(turn,),
        help=None if where else "A sweep in the store, newest first, or the example that comes with sam-dash.",
        label_visibility="collapsed" if where else "visible",
    )  # fmt: skip
    if st.query_params.get("study") != current and current == wanted:
        st.query_params["study"] = current
    if current != EXAMPLE and (why := backend.unreadable(sweeps[current])):
        st.error(
            f"This study is of another version of sam-dash, and cannot be shown by this one: {markdown.literal(why)}. "
            f"Nothing of it is lost: `sam-dash export --sweep {current} --out FOLDER` writes its runs.",
            icon=":material/history:",
        )
        st.stop()
    return example if current == EXAMPLE else backend.load(sweeps[current], with_hidden)
