"""Text fields, the form's sweep, uploads, and the arithmetic of the live view: no page needed."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_dash.problems import own_files
from sam_dash.problems.datasets import DataError, load
from sam_dash.runs import presets
from sam_dash.runs.spec import Measures, Problem, Training
from sam_dash.ui import fields, live, start
from sam_dash.variants import REGISTRY


def test_a_changed_form_does_not_carry_the_presets_name() -> None:
    sweep = presets.get("digits").sweep
    values = fields.values_of(sweep) | {"variants": ["sam"], "network": "mlp:8"}
    changed = fields.sweep(values, sweep)
    assert changed.preset == ""
    assert {r.variant for r in changed.runs()} == {"sam"}


def test_every_knob_of_every_variant_has_a_field() -> None:
    values = fields.values_of(presets.get("digits").sweep)
    for variant in REGISTRY.values():
        assert set(variant.knobs) <= set(values)


def test_a_knob_of_one_name_means_one_thing_in_every_variant_and_is_no_other_field() -> None:
    others = set(fields.values_of(presets.get("digits").sweep)) - set(fields.knobs_of(list(REGISTRY)))
    seen: dict[str, Any] = {}
    for variant in REGISTRY.values():
        for name, knob in variant.knobs.items():
            if name != "rho":  # the radius is each paper's own; the form shows one, which is seen and set
                known = seen.setdefault(name, knob)
                assert (knob.default, knob.symbol, knob.low, knob.high) == (
                    known.default, known.symbol, known.low, known.high,
                ), name  # fmt: skip
    named = {f.name for cls in (Problem, Training, Measures) for f in dataclasses.fields(cls)}
    assert not set(seen) & (others | named | {"preset", "seeds", "variants", "m", "measures"})
    symbols = [knob.symbol for knob in seen.values()]
    assert len(set(symbols)) == len(symbols)


def _npz(**changes: Any) -> bytes:
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.standard_normal((20, 4)), "y_train": rng.integers(0, 2, 20),
        "x_test": rng.standard_normal((10, 4)), "y_test": rng.integers(0, 2, 10),
    } | changes  # fmt: skip
    file = io.BytesIO()
    np.savez(file, **{k: v for k, v in arrays.items() if v is not None})
    return file.getvalue()


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def test_an_upload_is_kept_by_its_content_and_can_be_trained_on() -> None:
    name = own_files.keep("../my data.npz", _npz())
    assert own_files.known() == [name]
    assert load(name).x_train.shape == (20, 4)
    assert own_files.keep("../my data.npz", _npz()) == name
    assert Path(name.removeprefix("npz:")).parent == own_files.folder()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: _npz(y_test=None), "mine.npz: missing array 'y_test'"),
        (lambda: _npz(y_train=np.zeros(3, int)), "x_train"),
        (lambda: _npz(x_train=np.array([{}] * 20, dtype=object)), "pickled objects"),
        (lambda: b"not a zip", "cannot be read"),
    ],
)
def test_a_bad_upload_is_refused_in_words_and_not_kept(content: Callable[[], bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        own_files.keep("mine.npz", content())
    assert list(own_files.folder().iterdir()) == []


def test_the_time_left_is_counted_from_the_first_look() -> None:
    first = {"time": 100.0, "share": 0.5}
    assert live.eta(0.75, first, 110.0) == pytest.approx(10)
    assert live.eta(0.5, first, 200.0) is None
    assert live.eta(0.9, first, 101.0) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (1.0, " · finishing"), (22.0, " · about 20 s left"), (200.0, " · about 3 min left")],
)
def test_the_time_left_is_never_more_exact_than_it_is(seconds: float | None, text: str) -> None:
    assert live.left(seconds) == text


def test_progress_counts_ended_runs_in_full() -> None:
    runs = [
        {"status": "done", "step": 10, "steps": 10}, {"status": "failed", "step": 3, "steps": 10},
        {"status": "running", "step": 5, "steps": 10}, {"status": "queued", "step": 0, "steps": 10},
    ]  # fmt: skip
    assert live.progress(runs) == 25 / 40
    assert live.progress([]) == 0


@pytest.mark.parametrize(("n", "text"), [(999, "999"), (71_200, "71.2 thousand"), (1.3e6, "1.3 million")])
def test_large_numbers_are_words(n: float, text: str) -> None:
    assert start.evaluations(n) == text


@pytest.mark.parametrize("full", ["npz:/srv/data/mine-0123.npz", r"file:C:\mine\problem.py", "digits"])
def test_a_copied_link_names_a_file_without_its_folders_and_finds_it_again(full: str) -> None:
    short = fields.short(full)
    assert not set("/\\") & set(short)
    assert fields.tidied({"dataset": short}, ("digits", full)) == ({"dataset": full}, [])
    assert fields.tidied({"dataset": "npz:other.npz"}, ("digits", full))[1]
