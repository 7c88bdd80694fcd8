"""The zip holds every figure that the pages draw of a study: its numbers and its caption."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from sam_dash.results.experiments import EXPERIMENTS, which_sharpness
from sam_dash.results.files import bundle, gallery
from sam_dash.results.numbers import recorded
from sam_dash.results.numbers import study as studies
from sam_dash.ui import figure, router
from tests.synthetic import SWEEP, fill
from tests.ui.conftest import ALONE

EXAMPLE = studies.EXAMPLE
WIDE = replace(SWEEP, knobs={"rho": (0.1, 0.2), "lam": (0.0, 0.5)})
FURTHER = [
    ("matched", {"against": "Gradient evaluations"}), ("matched", {"against": "Seconds"}),
    ("rw_sam", {"rw_part": "Its weights"}),
]  # fmt: skip
PAGES = [name for name in router.PAGES if name not in {"theory", *ALONE}]
VISITS: list[tuple[str, dict[str, str]]] = [*((name, {}) for name in PAGES), *FURTHER]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, pd.DataFrame, str]]:
    """Of every figure that a page draws: its name, frame and caption."""
    found: list[tuple[str, pd.DataFrame, str]] = []
    monkeypatch.setattr(figure, "show", lambda fig, frame, caption, alt, name, key: found.append((key, frame, caption)))
    return found


def missing(drawn: list[tuple[str, pd.DataFrame, str]], pictures: list[gallery.Picture]) -> list[str]:
    """The figures that are not among the pictures, with the same numbers and the same caption."""
    of = [(p.frame.reset_index(drop=True), p.caption) for p in pictures]
    return [
        key
        for key, frame, caption in drawn
        if not any(caption == told and frame.reset_index(drop=True).equals(other) for other, told in of)
    ]


def test_every_figure_of_the_example_is_in_its_zip(visit: Any, drawn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "EXAMPLE", EXAMPLE)
    study = studies.from_folder(EXAMPLE)
    assert study is not None
    at = visit(study="example")
    for page, query in VISITS:
        at.switch_page(f"pages/{page}.py")
        for name, value in query.items():
            at.query_params[name] = value
        assert not at.run().exception
    pictures = gallery.pictures(study, bundle.curves(study, None))
    names = {key for key, *_ in drawn}
    assert names >= {"sharpness", "matched", "correlation", "rw_sam", "weights", "tenths", "noise", "layers", "density"}
    lead = [of for of in drawn if of[0] == "example"]  # on Overview: fewer panels of the first figure, same caption
    assert {caption for _, _, caption in lead} <= {p.caption for p in pictures}
    assert missing([of for of in drawn if of[0] != "example"], pictures) == []


def test_the_map_of_several_radii_is_in_the_zip_too(store: Any, visit: Any, drawn: Any, richer: None) -> None:
    study_id = fill(store, WIDE)
    for page in ("rho_m", "sharpness", "rw_sam", "noise", "dynamics"):
        visit(page, study=study_id)
    study = studies.from_store(store, study_id)
    assert study is not None
    assert "rho_m" in {key for key, *_ in drawn}
    pictures = gallery.pictures(study, bundle.curves(study, store))
    assert missing(drawn, pictures) == []
    told = {p.name: p.caption for p in pictures if p.name.startswith(("noise", "dynamics", "weights", "rw-sam"))}
    assert len(told) == 8
    assert [name for name, caption in told.items() if f"At this ρ = {name.rpartition('-')[2]}" not in caption] == []


def test_the_figure_of_an_experiment_is_in_the_zip_of_its_study() -> None:
    study = studies.from_folder(EXPERIMENTS["which-sharpness"].data)
    assert study is not None
    curves = recorded.among(studies.read_curves(EXPERIMENTS["which-sharpness"].data))
    found = {p.name: p for p in gallery.pictures(study, curves)}
    frame = which_sharpness.frame(study)
    pd.testing.assert_frame_equal(found["experiment-which-sharpness"].frame, frame)


def test_of_an_experiment_of_several_studies_the_zip_says_where_its_figure_is() -> None:
    study = studies.from_folder(EXPERIMENTS["heavy-tails"].data / "1")
    assert study is not None
    note = gallery.elsewhere(study)
    assert "of 9 studies together" in note
    with zipfile.ZipFile(io.BytesIO(bundle.write(study, None, None))) as archive:
        readme = next(name for name in archive.namelist() if name.endswith("README.md"))
        assert note in archive.read(readme).decode()
    alone = studies.from_folder(EXPERIMENTS["which-sharpness"].data)
    assert alone is not None
    assert gallery.elsewhere(alone) == ""
