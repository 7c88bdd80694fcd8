"""The controls of the page Checkpoints: which weights, on what, and the job that computes what is not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import streamlit as st

from sam_dash.problems import card, checkpoints, listing
from sam_dash.problems.datasets import DATASETS, DataError
from sam_dash.problems.problem import Problem, SpecError
from sam_dash.results import words
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views.looked import Looked, Seen
from sam_dash.results.views.planes import PLANES
from sam_dash.runs import checkpoints as recorded
from sam_dash.runs import cost
from sam_dash.runs.looking import Job, Jobs
from sam_dash.runs.looks import FILE, PARTS, RUN, Look
from sam_dash.ui import backend, markdown, pick

NONE, OF_STUDY, BUILT_IN = "none", "that of the study", "a built-in one"
START = (3.0, 10.0)  # seconds until a computing process has begun
NO_WEIGHTS = (
    "There are no weights here: no run of the study chosen has kept its own, and SAM_DASH_CHECKPOINTS names no file "
    "(.safetensors or .pt). Runs keep their final weights unless they are above 10 MB."
)


@st.cache_resource(show_spinner=False, on_release=lambda jobs: jobs.close())
def jobs() -> Jobs:
    """The looks that this server computes."""
    return Jobs()


def study() -> Study | None:
    """The study whose runs can be chosen, narrowed to one network; None where there is none."""
    found = pick.study(with_example=False)
    return found and pick.one_network(found)


def choices(of: Study | None) -> Mapping[str, str]:
    """Name -> weights: the finished runs of a study that have kept theirs, what a recorder saved of others, and the
    registered files.
    """
    out: dict[str, str] = {}
    if of is not None:
        store = backend.store()
        done = of.runs if of.recorded else of.runs[of.runs["status"] == "done"]
        saved: dict[str, list[recorded.Checkpoint]] = {}
        for each in recorded.listed(store, list(done["run"])) if of.recorded else ():
            saved.setdefault(each.run, []).append(each)
        knobs = [k for k in tables.settings(done)[2:] if done[k].nunique() > 1]
        for r in tables.records(done):
            extra = words.knob_text({k: r[k] for k in knobs if r[k] == r[k]})
            name = f"{words.cell_name(r['variant'], r['m'], of.spec.training.batch, extra)}, seed {r['seed']}"
            if store.has_weights(r["run"]):
                out[name] = f"{RUN}{r['run']}"
            for each in saved.get(r["run"], ()):
                out[f"{name}, step {each.step}"] = f"{FILE}{each.path}"
    for file in checkpoints.registered():
        name = file.name if f"file {file.name}" not in out else f"{file.parent.name}/{file.name}"
        out[f"file {name}"] = f"{FILE}{file}"
    return out


def problem(of: Study | None) -> Problem:
    """The problem that the weights are looked at on: that of the study, a problem file, or a built-in one."""
    files = {f"file {path.name}": path for path in listing.listed()}
    ours = of is not None and not of.recorded  # of a recorded run only the loop that made it knows its problem
    options = [*([OF_STUDY] if ours else []), *files, BUILT_IN]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Problem", options, key="look_problem", bind="query-params", width=330)
        if of is not None and chosen == OF_STUDY:
            return of.spec.problems[0]
        try:
            if chosen in files:
                with st.spinner(f"Reading {files[chosen].name} in a process of its own", show_time=True):
                    return Problem(dataset=f"{card.FILE}{files[chosen]}")
            data = st.selectbox("Data", list(DATASETS), key="look_data", bind="query-params", width=200)
            network = st.text_input("Network", "mlp:64", key="look_network", bind="query-params", width=200)
            return Problem(dataset=data, network=network)
        except SpecError as error:
            _stop(error)


def looks(of: Study | None) -> dict[str, Look]:
    """What is asked of the one or two checkpoints chosen, by name; the page ends here where nothing can be."""
    names = choices(of)
    if not names:
        st.info(NO_WEIGHTS, icon=":material/inventory_2:")
        st.stop()
    on = problem(of)
    listed = list(names)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first = st.selectbox("A", listed, key="look_a", bind="query-params", width=330)
        beside = [NONE, *listed]
        same = [name for name in listed if name != first and name.rpartition(", ")[2] == first.rpartition(", ")[2]]
        usual = beside.index(same[-1]) if same else 0
        second = st.selectbox("B, beside it", beside, index=usual, key="look_b", bind="query-params", width=330)
        rho = st.number_input("ρ", 1e-6, 100.0, 0.05, 0.01, format="%g", key="look_rho", bind="query-params", width=120,
                              help="Radius of SAM's ball, and of the m-sharpness.")  # fmt: skip
        reach = st.number_input("Reach, in ρ", 0.1, 1000.0, 10.0, 1.0, format="%g", key="look_reach",
                                bind="query-params", width=120, help="Of the slices along eigenvectors.")  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = st.segmented_control("Samples", ["train", "test"], default="train", required=True, key="look_split",
                                     bind="query-params")  # fmt: skip
        most = st.number_input("At most", 2, 10**6, 1000, 100, key="look_samples", bind="query-params", width=140,
                               help="The first samples. Errors are over these.")  # fmt: skip
        about = {text: part for part, text in PARTS.items()}
        parts = st.multiselect("What", list(about), default=list(about), key="look_parts", bind="query-params",
                               placeholder="Choose", select_all=False)  # fmt: skip
    chosen = [first, *([second] if second not in (NONE, first) else [])]
    seeds = {f"{RUN}{r['run']}": int(r["seed"]) for r in tables.records(of.runs)} if of is not None else {}
    usual_seed = next((seeds[names[c]] for c in chosen if names[c] in seeds), 0)
    found = {}
    for letter, name in zip("AB", chosen, strict=False):
        try:
            found[f"{letter}: {name}"] = Look(
                problem=on, seed=seeds.get(names[name], usual_seed), weights=names[name],
                toward=next((names[other] for other in chosen if other != name), ""),
                parts=tuple(about[p] for p in parts), split=split or "train", samples=int(most), rho=rho, reach=reach,
            )  # fmt: skip
        except SpecError as error:
            _stop(error)
    return found


def looked(asked: Mapping[str, Look]) -> Looked:
    """The answers; while there are none yet, the page shows how to have them computed, or how far they are."""
    answers = {name: look.answer() for name, look in asked.items()}
    missing = {name: look for name, look in asked.items() if answers[name] is None}
    if missing:
        going = {name: jobs().get(look) for name, look in missing.items()}
        if any(job and not job.ended for job in going.values()):
            _progress(missing)
        else:
            _offer(missing, going)
        st.stop()
    return Looked(tuple(Seen(name, look, answers[name] or {}) for name, look in asked.items()))


def plane() -> str:
    """Which plane is drawn; a key of `PLANES`."""
    titles = {title: key for key, title in PLANES.items()}
    chosen = st.segmented_control("Directions", list(titles), default=next(iter(titles)), required=True,
                                  key="look_plane", bind="query-params")  # fmt: skip
    return titles[chosen or next(iter(titles))]


def price(asked: Mapping[str, Look]) -> str:
    """About how long the computing takes here, in words."""
    speed = backend.store().speed()
    seconds = 0.0
    for look in asked.values():
        try:
            adds = cost.multiply_adds(look.problem) * cost.dearer(look.problem)
        except (SpecError, DataError):
            return "some time"
        seconds += look.passes * (1e-3 + look.samples * adds * cost.COEFFICIENTS[3])
    return cost.span(START[0] + 0.7 * speed.low * seconds, len(asked) * START[1] + 1.5 * speed.high * seconds)


def _offer(missing: Mapping[str, Look], before: Mapping[str, Job | None]) -> None:
    for name, job in before.items():
        if job and job.error:
            st.error(f"{markdown.literal(name)}: {markdown.literal(job.error)}", icon=":material/error:")
    with st.container(border=True):
        what = " and ".join(markdown.literal(name) for name in missing)
        st.markdown(f":material/play_circle: **Not computed yet** for {what}: {price(missing)}.")
        st.caption("It is computed outside of this page, one checkpoint at a time, and kept: by content, so that the "
                   "same weights are never computed twice.")  # fmt: skip
        st.button("Compute", type="primary", key="look_start", on_click=_start, args=(dict(missing),))


def _start(missing: Mapping[str, Look]) -> None:
    for look in missing.values():
        jobs().start(look, backend.store().url)


@st.fragment(run_every=0.5)
def _progress(missing: Mapping[str, Look]) -> None:
    going = {name: jobs().get(look) for name, look in missing.items()}
    for name, job in going.items():
        if job is None:
            continue
        state = "done" if job.ended else PARTS.get(job.what, job.what)
        share = 1.0 if job.ended else min(1.0, job.done / max(1, job.of))
        st.progress(share, f"{markdown.literal(name)}: {state} ({words.per_cent(share)})")
    st.button("Cancel", key="look_cancel", icon=":material/cancel:", on_click=_cancel, args=(dict(missing),))
    if all(job is None or job.ended for job in going.values()):
        st.rerun()


def _cancel(missing: Mapping[str, Look]) -> None:
    for job in filter(None, (jobs().get(look) for look in missing.values())):
        job.cancel()


def _stop(error: Exception) -> NoReturn:
    st.error(markdown.literal(str(error)), icon=":material/error:")
    st.stop()
