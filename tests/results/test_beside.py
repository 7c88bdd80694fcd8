"""Several ρ, and several studies, on one figure: named by what they differ in, never pooled, paired within each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sam_dash.results.drawing import cells, facets, figures, overlay
from sam_dash.results.numbers import beside, recorded, statistics, tables
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import dynamics, noise_law, rw_sam, sharpness
from sam_dash.results.views.view import Selection
from sam_dash.runs.spec import Training
from sam_dash.runs.store import Store
from tests import synthetic

SMALL = replace(synthetic.SWEEP, variants=("sgd", "sam"), m=(8, 1), knobs={"rho": (0.1, 0.2)})
WIDE = replace(SMALL, problem=replace(SMALL.problem, network="mlp:16"))
CLEAN = replace(WIDE, problem=replace(WIDE.problem, label_noise=0.0))
FAST = replace(SMALL, training=Training(batch=4, epochs=4, lr=0.2), m=(4, 1))
MORE = replace(SMALL, knobs={"rho": (0.2, 0.4)})
BOTH = replace(SMALL, networks=("mlp:8", "mlp:16"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Study]:
    store, out = Store(tmp_path_factory.mktemp("beside") / "store.db"), {}
    sweeps = {"small": SMALL, "wide": WIDE, "clean": CLEAN, "fast": FAST, "more": MORE, "both": BOTH}
    for name, sweep in sweeps.items():
        study = studies.from_store(store, synthetic.fill(store, sweep))
        assert study is not None
        out[name] = study
    store.close()
    return out


def selection(study: Study, **options: Any) -> Selection:
    return Selection(study, study.finals, study.runs, recorded.among(recorded.bundled()), options=options)


def test_a_study_is_named_by_all_that_it_differs_in_and_by_nothing_else() -> None:
    assert beside.names([SMALL, WIDE, CLEAN]) == [
        "width 8, 40 % label noise", "width 16, 40 % label noise", "width 16, clean labels",
    ]  # fmt: skip
    assert beside.names([SMALL, WIDE]) == ["width 8", "width 16"]
    assert beside.names([SMALL, FAST]) == ["lr 0.1, B = 8", "lr 0.2, B = 4"]
    assert beside.names([SMALL, MORE]) == ["", ""]
    other = replace(SMALL, training=replace(SMALL.training, weight_decay=0.001, schedule="constant"))
    assert beside.names([SMALL, other]) == [
        "weight decay 0, schedule cosine", "weight decay 0.001, schedule constant",
    ]  # fmt: skip


def test_studies_of_other_data_do_not_go_on_one_figure(found: dict[str, Study]) -> None:
    other = replace(SMALL, problem=replace(SMALL.problem, dataset="mnist1d"))
    assert not beside.common(SMALL, other)
    with pytest.raises(ValueError, match="do not go on one figure"):
        beside.together([found["small"], replace(found["wide"], spec=other)])


def test_what_shares_problem_and_training_is_one_study_and_each_run_is_counted_once(found: dict[str, Study]) -> None:
    one = beside.together([found["small"], found["more"]])
    assert "study" not in one.runs
    assert one.values("rho") == [0.1, 0.2, 0.4]
    assert len(one.runs) == 3 * (1 + 2 * 3), "SGD once, and ρ = 0.2 once"
    assert not one.finals.duplicated(["run", "quantity"]).any()


def test_networks_of_one_study_are_told_apart_as_studies_are(found: dict[str, Study]) -> None:
    one = beside.together([found["both"]])
    assert list(dict.fromkeys(one.runs["study"])) == ["width 8", "width 16"]
    assert {of["line"] for of in cells.of(one) if of["variant"] == "sgd"} == {"SGD, width 8", "SGD, width 16"}


@pytest.mark.parametrize("names", [("small", "wide"), ("small", "wide", "clean"), ("small", "fast", "more"), ("both",)])
def test_each_mean_of_several_studies_is_that_of_its_study_alone(
    found: dict[str, Study], names: tuple[str, ...]
) -> None:
    one = beside.together([found[name] for name in names])
    frame = tables.summary(one.finals, one.runs, ["tr_H"])
    key = ["variant", "m", "rho", "kind", "seed", "y", "low", "high", "n"]
    whole = frame.groupby("study") if "study" in frame else []
    seen = 0
    for name, of in whole:
        alone = [tables.summary(part.finals, part.runs, ["tr_H"]) for part, called in one.beside if called == name]
        expected = {repr(row) for each in alone for row in tables.records(each[key])}
        assert {repr(row) for row in tables.records(of[key])} == expected, name
        seen += 1
    assert seen == len({name for _, name in one.beside}) > 1


def test_a_difference_is_taken_within_each_study(found: dict[str, Study]) -> None:
    one = beside.together([found["small"], found["clean"]])
    frame = tables.summary(one.finals, one.runs, ["tr_H"], against={"variant": "sgd"})
    sgd = frame[frame["variant"] == "sgd"]
    assert (sgd["y"] == 0).all()
    assert set(sgd["study"]) == {name for _, name in one.beside}
    raw = one.finals[one.finals["quantity"] == "tr_H"].fillna({"rho": 0, "m": 0})
    values = {tuple(r[k] for k in ("study", "variant", "rho", "m", "seed")): r["value"] for r in tables.records(raw)}
    for r in tables.records(frame[(frame["kind"] == "seed") & (frame["variant"] == "sam")]):
        expected = values[r["study"], "sam", r["rho"], r["m"], r["seed"]] - values[r["study"], "sgd", 0, 0, r["seed"]]
        assert r["y"] == pytest.approx(expected)


def test_each_study_has_its_own_b(found: dict[str, Study]) -> None:
    one = beside.together([found["small"], found["fast"]])
    lines = {of["line"] for of in cells.of(one)}
    assert {"SAM, m = B = 8, ρ = 0.1, lr 0.1, B = 8", "SAM, m = B = 4, ρ = 0.1, lr 0.2, B = 4"} <= lines
    full = tables.at_full_batch(one.runs, 8)
    assert set(full.loc[full["variant"] == "sam", "m"]) == {8.0, 4.0}
    assert set(full.loc[full["m"] == 4, "study"]) == {"lr 0.2, B = 4"}


def test_every_line_of_an_overlay_has_a_look_of_its_own_and_a_place_in_the_legend(found: dict[str, Study]) -> None:
    at = selection(beside.together([found["small"], found["wide"], found["clean"]]))
    frame = sharpness.VIEW.frame(at)
    fig = sharpness.VIEW.figure(frame, at, 6)
    legend = [t for t in fig.data if t.showlegend]
    assert len({t.name for t in legend}) == len(legend) == 3 * (1 + 2)
    assert len({(t.line.color, t.line.dash) for t in legend}) == len(legend)
    assert {"SAM, ρ = 0.2, width 16, clean labels", "SGD, width 8, 40 % label noise"} <= {t.name for t in legend}


@pytest.mark.parametrize("by", ["rho", "variant", "study"])
def test_a_panel_of_a_setting_shows_what_has_it_and_what_has_none(found: dict[str, Study], by: str) -> None:
    at = selection(beside.together([found["small"], found["wide"]]), facet=by, quantities=("tr_H", "test_acc"))
    frame = sharpness.VIEW.frame(at)
    fig = sharpness.VIEW.figure(frame, at, 6)
    parts = facets.levels(frame, by) if by != "variant" else ["sam"]
    titles = [a.text for a in fig.layout.annotations]
    assert len(titles) == 2 * len(parts)
    assert [facets.label(by, v) in title for v, title in zip([*parts, *parts], titles, strict=True)]
    means = frame[(frame["kind"] == "mean") & (frame["quantity"] == "tr_H")]
    for i, value in enumerate(parts):
        here = means[(means[by] == value) | means[by].isna() | (means["variant"].eq("sgd") & (by == "variant"))]
        drawn = [t for t in fig.data if (t.yaxis or "y") == f"y{i + 1 if i else ''}" and t.line.width == 2]
        points = {round(y, 9) for t in drawn for y in t.y}
        assert points == {round(y, 9) for y in here["y"]}, value
        assert fig.layout[f"yaxis{i + 1}" if i else "yaxis"].matches == ("y" if i else None)
    if by != "variant":
        assert not any(facets.label(by, v) in t.name for v in parts for t in fig.data)


def test_the_best_of_all_is_the_best_mean_and_ties_are_by_intervals_for_all_at_once(found: dict[str, Study]) -> None:
    study = found["small"]
    frame = tables.summary(study.finals, study.runs, ["test_acc", "tr_H"])
    for q, extreme in (("test_acc", "idxmax"), ("tr_H", "idxmin")):
        means = frame[(frame["kind"] == "mean") & (frame["quantity"] == q)]
        best = overlay.best(frame, q, cells.of(study))
        assert best is not None
        assert best.row == getattr(means["y"], extreme)()
        assert best.others == len(means) - 1 == 4
        look = cells.of(study)
        seeds: dict[str, dict[int, float]] = {}
        for r in tables.records(frame[(frame["kind"] == "seed") & (frame["quantity"] == q)]):
            seeds.setdefault(look[r]["line"], {})[r["seed"]] = r["y"]
        wide = [statistics.paired(seeds[best.line], v).widened(4) for k, v in seeds.items() if k != best.line]
        assert best.ties == sum(d.low <= 0 <= d.high for d in wide)
    assert overlay.best(frame.assign(quantity="train_loss"), "train_loss", cells.of(study)) is None


def test_sentences_and_caption_of_an_overlay_say_all_that_is_drawn(found: dict[str, Study]) -> None:
    at = selection(beside.together([found["small"], found["clean"]]))
    frame = sharpness.VIEW.frame(at)
    said = sharpness.VIEW.findings(frame, at)
    assert said[0].startswith("tr(H) is lowest of 10 settings for SAM, m = 1, ρ = 0.")
    assert sharpness.VIEW.headline(frame, at, said).startswith("Test accuracy is highest of 10 settings for SAM, m = 1")
    caption = sharpness.VIEW.caption(frame, at)
    assert "At ρ = 0.1 and 0.2, each drawn by itself." in caption
    assert "beside it the same with: width 16, clean labels" in caption
    assert "Ringed: the best mean of all" in caption
    assert frame.loc[frame["best"], "quantity"].tolist() == ["test_acc"]


def test_a_table_over_m_has_a_row_for_each_line_and_pools_none(found: dict[str, Study]) -> None:
    study = beside.together([found["small"], found["wide"]])
    of = overlay.each_line(study.finals, cells.of(study), "m", lambda f: tables.slopes(f, ["tr_H"]))
    assert sorted(of["Variant"]) == [
        "SAM, ρ = 0.1, width 16", "SAM, ρ = 0.1, width 8", "SAM, ρ = 0.2, width 16", "SAM, ρ = 0.2, width 8",
    ]  # fmt: skip
    assert set(of["n"]) == {3}
    alone = found["wide"].finals
    own = tables.slopes(alone[alone["rho"] == 0.2], ["tr_H"])["slope"].iloc[0]
    assert of.set_index("Variant")["slope"]["SAM, ρ = 0.2, width 16"] == pytest.approx(own)


def test_so_many_lines_have_no_dots_and_the_caption_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    sweep = replace(SMALL, variants=("sam",), knobs={"rho": tuple(0.1 * k for k in range(1, figures.MANY + 2))})
    study = studies.from_store(store, synthetic.fill(store, sweep))
    store.close()
    assert study is not None
    for rhos, dots in ((figures.MANY, True), (figures.MANY + 1, False)):
        kept = study.values("rho")[:rhos]
        at = selection(study, quantities=("tr_H",))
        at = replace(at, finals=at.finals[at.finals["rho"].isin(kept)], runs=at.runs[at.runs["rho"].isin(kept)])
        frame = sharpness.VIEW.frame(at)
        fig = sharpness.VIEW.figure(frame, at, 6)
        assert any(t.mode == "markers" and t.marker.size == 4 and t.x for t in fig.data) == dots
        assert ("Small dots" in sharpness.VIEW.caption(frame, at)) == dots
        assert (frame["kind"] == "seed").sum() == 2 * 3 * rhos, "the data have them"


def test_the_first_of_several_is_itself_again(found: dict[str, Study]) -> None:
    at = selection(beside.together([found["small"], found["wide"]])).first
    assert set(at.study.runs["run"]) == set(found["small"].runs["run"]) == set(at.runs["run"])
    assert {of["line"] for of in at.look} == {of["line"] for of in cells.of(found["small"])}
    same = selection(beside.together([found["small"], found["more"]])).first
    assert all(row in same.look for row in tables.records(same.runs))


def test_rw_sam_is_overlaid_too(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    sweep = replace(synthetic.SWEEP, variants=("sgd", "rwsam"), m=(), knobs={"rho": (0.1, 0.2), "lam": (0.0, 1.0)})
    study = studies.from_store(store, synthetic.fill(store, sweep))
    store.close()
    assert study is not None
    at = selection(study, facet="rho", quantities=("tr_H",))
    fig = rw_sam.VIEW.figure(rw_sam.VIEW.frame(at), at, 3)
    assert [t.name for t in fig.data if t.showlegend] == ["SGD", "RW-SAM"]
    assert len(fig.layout.annotations) == 2


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    """Two networks, the second trained for longer, with their curves."""
    store, parts, rows = Store(tmp_path_factory.mktemp("curves") / "store.db"), [], []
    longer = replace(WIDE, training=Training(batch=8, epochs=6))
    for sweep in (SMALL, longer):
        study = studies.from_store(store, synthetic.fill(store, sweep))
        assert study is not None
        parts.append(study)
        done = list(study.runs["run"])
        rows.append(recorded.stored(store, done, ["test_acc", "train_loss"], recorded.steps_per_epoch(study), 40))
    store.close()
    one = beside.together(parts)
    return Selection(one, one.finals, one.runs, recorded.among(pd.concat(rows)),
                     options={"quantities": ("test_acc", "train_loss")})  # fmt: skip


@pytest.mark.parametrize("by", ["", "study", "rho", "m", "variant"])
def test_curves_are_told_apart_by_panels_that_share_their_epochs_and_axes(curves: Selection, by: str) -> None:
    at = curves.but(facet=by)
    frame = dynamics.VIEW.frame(at)
    fig = dynamics.VIEW.figure(frame, at, 6)
    n = len(facets.levels(frame, by)) if by else 1
    assert len(fig.layout.annotations) == 2 * n
    assert {fig.layout[f"xaxis{k or ''}"].matches for k in (0, *range(2, 2 * n + 1))} == {"x"}
    for i in range(2 * n):
        matched = fig.layout[f"yaxis{i + 1 if i else ''}"].matches
        assert matched == (None if i % n == 0 else f"y{i - i % n + 1}" if i >= n else "y")
    means = frame[(frame["kind"] == "mean") & (frame["panel"] == "test_acc")]
    lines = means.groupby([by, "line"] if by == "study" else ["line"], dropna=False) if by in ("", "study") else ()
    assert "begin with the first point after the start" in dynamics.VIEW.caption(frame, at)
    losses = frame[frame["panel"] == "train_loss"]
    if by:
        low, high = fig.layout[f"yaxis{n + 1}"].range
        assert low < losses["low"].min() <= losses["high"].max() < high < losses["high"].max() + 0.2 * (high - low)
    drawn = [t for t in fig.data if t.line.width == 2 and int((t.yaxis or "y").strip("y") or 1) <= n]
    if by in ("", "study"):
        assert len(drawn) == len(lines)
        looks = {(t.yaxis, t.line.color, t.line.dash) for t in drawn}
        assert len(looks) == len(drawn), "no two lines of a panel are drawn alike"


def test_an_accuracy_is_shown_from_the_first_epoch_on_and_its_data_from_the_start(curves: Selection) -> None:
    frame = dynamics.VIEW.frame(curves)
    accuracy = frame[frame["panel"] == "test_acc"]
    assert accuracy["x"].min() == 0
    low, high = dynamics.VIEW.figure(frame, curves, 6).layout.yaxis.range
    later = accuracy[accuracy["x"] > 0]
    assert accuracy["y"].min() < low <= later["y"].min() < later["y"].max() <= high
    short = accuracy[accuracy["x"].isin([0, 1])]
    assert dynamics.trained(short)[0] <= short["y"].min(), "of two points both are shown"


def test_gradients_and_shares_of_training_are_those_of_each_study(curves: Selection) -> None:
    frame = dynamics.VIEW.frame(curves.but(clock="Gradient evaluations"))
    ends = frame[frame["variant"] == "sgd"].groupby("study")["x"].max()
    small, wide = ends["width 8, 4 epochs"], ends["width 16, 6 epochs"]
    assert wide == pytest.approx(1.5 * small), "half as many epochs more"


def test_the_noise_of_several_studies_has_the_law_of_each_with_its_own_b(tmp_path: Path) -> None:
    store, parts = Store(tmp_path / "store.db"), []
    for sweep in (SMALL, FAST):
        of = studies.from_store(store, synthetic.fill(store, sweep, quantities={f"tr_V@{m}": 20 / m for m in (2, 4)}))
        assert of is not None
        parts.append(of)
    store.close()
    at = selection(beside.together(parts), facet="study")
    frame = noise_law.VIEW.frame(at)
    fig = noise_law.VIEW.figure(frame, at, 6)
    names = [name for _, name in at.study.beside]
    assert [a.text.count(name) for name, a in zip(names * 2, fig.layout.annotations, strict=True)] == [1] * 4
    within = frame[frame["line"] == noise_law.FACTOR].groupby("study")["x"].max()
    assert within.to_dict() == {names[0]: 4.0, names[1]: 2.0}, "below B = 8 and B = 4"
    assert len(fig.layout.shapes) == 2, "1 is the law in each panel of the ratio"
