"""The page Checkpoints through app.py: what it offers, starts, follows and shows, computed in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.runs import look_work
from sam_dash.runs.looking import Job, Jobs
from sam_dash.runs.looks import Look
from sam_dash.runs.store import Store
from sam_dash.ui import checkpoint_parts
from tests import looking
from tests.synthetic import SWEEP, fill
from tests.ui.test_pages import charts, text_of

Visit = Callable[..., AppTest]
PARTS = ["slices in one dimension", "slices in two dimensions", "rounding and noise"]
SMALL = {"look_network": "mlp:3", "look_samples": "40", "look_parts": PARTS}


class Here(Jobs):
    """Computes in this process, when asked to."""

    def start(self, look: Look, url: str) -> Job:
        job = Job.__new__(Job)
        job.look, job.what, job.done, job.of, job.error, job.ended = look, "plane", 5, 10, "", False
        job.process, job.cancelled = None, False
        self.jobs[look.key] = job
        return job

    def finish(self) -> None:
        for job in self.jobs.values():
            job.ended = True
            try:
                look_work.keep(job.look, look_work.answer(job.look, lambda *_: None))
            except ValueError as error:
                job.error = str(error)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Here:
    found = Here()
    monkeypatch.setattr(checkpoint_parts, "jobs", lambda: found)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


def test_without_weights_the_page_says_where_they_come_from(visit: Visit, jobs: Here) -> None:
    at = visit("checkpoints")
    assert "SAM_DASH_CHECKPOINTS names no file" in text_of(at)
    assert not charts(at)


def test_two_files_are_offered_computed_followed_and_shown_side_by_side(
    visit: Visit, jobs: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ck").mkdir()
    for name, steps in (("a.safetensors", 20), ("b.safetensors", 5)):
        looking.trained(tmp_path / "ck", name, steps)
    monkeypatch.setenv("SAM_DASH_CHECKPOINTS", str(tmp_path / "ck"))
    query: dict[str, Any] = SMALL | {"look_a": "file a.safetensors", "look_b": "file b.safetensors"}
    at = visit("checkpoints", **query)
    assert "**Not computed yet** for A: file a.safetensors and B: file b.safetensors" in text_of(at)
    at.button(key="look_start").click().run()
    assert not at.exception
    assert len(jobs.jobs) == 2
    assert [p.proto.value for p in at.get("progress")] == [50, 50]
    jobs.finish()
    at = visit("checkpoints", **query)
    assert not at.error, at.error[0].value
    assert [b.label for b in at.get("download_button") if b.proto.id.endswith("look_zip")] == ["Download these figures"]
    assert len(charts(at)[0]["data"]) == 6, "two contours, each with its ball and its weights"
    plane, slices = charts(at)[:2]
    contours = [t for t in plane["data"] if t["type"] == "contour"]
    assert {t["coloraxis"] for t in contours} == {"coloraxis"}, "one scale"
    assert "to the other" in {a["text"] for a in slices["layout"]["annotations"]}
    text = text_of(at)
    assert "Training loss at the weights: " in text
    assert "This is 2 of 235 dimensions" in text
    numbers = next(d.value for d in at.dataframe if "Number" in d.value)
    assert "Distance to the other" in set(numbers["Number"])
    at = visit("checkpoints", **query, look_plane="Two random directions", planes_tab="Data")
    assert "It is drawn to scale, and small." in text_of(at)
    frame = next(d.value for d in at.dataframe if "rise_stderr" in d.value)
    assert set(frame["line"]) == {"A: file a.safetensors", "B: file b.safetensors"}


def test_the_weights_of_another_network_are_refused_on_the_page_and_can_be_tried_again(
    visit: Visit, jobs: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_DASH_CHECKPOINTS", str(looking.trained(tmp_path, "a.safetensors", 1)))
    query = SMALL | {"look_network": "mlp:4"}
    visit("checkpoints", **query).button(key="look_start").click().run()
    jobs.finish()
    at = visit("checkpoints", **query)
    assert "has the weights of another network" in at.error[0].value
    assert at.button(key="look_start")
    at = visit("checkpoints", look_network="mlp:0")
    assert "expected widths in" in at.error[0].value


def test_runs_of_a_study_that_kept_their_weights_are_choices(store: Store, visit: Visit, jobs: Here) -> None:
    fill(store, SWEEP)
    at = visit("checkpoints")
    assert not at.exception
    keys = [run["key"] for run in store.runs()]
    kept = [key for key in keys if store.has_weights(key)]
    boxes = [box for box in at.selectbox if box.label == "A"]
    assert len(boxes[0].options if boxes else []) == len(kept)
