"""Every view, walked: at every width each trace has something to be seen, at its place, under a title of its own."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from sam_dash.maths.theory.setting import Setting, play
from sam_dash.problems.landscapes import LANDSCAPES
from sam_dash.results.drawing import panels
from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.results.experiments.experiment import Result
from sam_dash.results.numbers import parts, recorded
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import VIEWS, compare, escapes, run_curves, theory, theory_moments, walks
from sam_dash.results.views.looked import LookView
from sam_dash.results.views.view import Selection, StudyView, View
from sam_dash.runs.saddles import Walk
from sam_dash.runs.store import Store
from sam_dash.ui import router
from sam_dash.ui.frame import COLUMNS, STEPS
from tests import looking, synthetic
from tests.decide import records

WIDTHS = dict(zip(COLUMNS, (340, *STEPS), strict=True))  # columns -> px of the narrowest page that has room for them
FOLDER = Path(studies.__file__).parents[1] / "views"
FURTHER = {f"m_sharp@{m}": 0.1 / m for m in (1, 2, 4, 8)} | {f"tr_V@{m}": 20 / m for m in (2, 4, 8)}
FURTHER |= {
    f"{key}@m={m},rho={rho:g}": 0.5 + 0.1 * rho + 0.3 * (key == "added_error0")
    for key in ("added_error", "added_error0", "added_cos", "added_len") for m in (1, 4) for rho in (0.01, 0.1, 1.0)
}  # fmt: skip
FURTHER |= {"grad_sq": -0.1, "layer_noise@hidden1": 12.0, "layer_noise@output": 8.0}
At = tuple[View[Any], Any, str]


@dataclass(eq=False)
class Drawn:
    """A view that has something to show, with its frame, and its figure at every width: drawn once for all tests."""

    view: View[Any]
    at: Any
    frame: pd.DataFrame
    name: str

    @cached_property
    def figures(self) -> dict[int, go.Figure]:
        """By columns."""
        return {columns: self.view.figure(self.frame, self.at, columns) for columns in WIDTHS}


def stored(folder: Path, sweep: Any, collapsed: float | None = None) -> tuple[Study, Any]:
    """A study of invented numbers; the runs at the ρ `collapsed` have the accuracy of guessing."""
    plain, store = synthetic.values, Store(folder / "store.db")

    def values(run: Any, share: float = 1.0) -> dict[str, float]:
        found = plain(run, share) | {f"mean_norm@{m}": 3 * (1.1 - share) / m**0.5 for m in (1, 4, 8)}
        return found | ({"test_acc": 0.1} if run.knobs.get("rho") == collapsed is not None else {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "values", values)
        study = studies.from_store(store, synthetic.fill(store, sweep, quantities=FURTHER))
    assert study is not None
    done, rate = list(study.runs["run"]), recorded.steps_per_epoch(study)
    kept = {q: recorded.stored(store, done, [q], rate, 40) for q in set(study.finals["quantity"])}
    store.close()

    def curves(quantities: Any, points: int) -> Any:
        found = [kept[q] for q in quantities if q in kept]
        return recorded.among(pd.concat(found) if found else kept["test_acc"][:0])(quantities, points)

    return study, curves


def looked_at(study: Study, curves: Any) -> Iterator[At]:
    """Every view of a study, at its least and its largest ρ, with every choice that is taken away."""
    every = Selection(study, study.finals, study.runs, curves)
    rhos = study.values("rho")
    ends = [every.where(rho=rho) for rho in sorted({*rhos[:1], *rhos[-1:]})] or [every]
    for view in (v for v in VIEWS.values() if isinstance(v, StudyView)):
        for at in [every] if view.whole else ends:
            yield from ((view, chosen, f"{view.key}{name}") for name, chosen in view.choices(at))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[At]:
    """Every view of the example, of a store of two ρ of which one collapsed, of one of a single seed, of SGD alone; of
    the experiments, and of the saddles.
    """
    example = studies.from_folder(studies.EXAMPLE)
    assert example is not None
    found = [*looked_at(example, recorded.among(recorded.bundled()))]
    sweep = replace(synthetic.SWEEP, m=(8, 1), knobs={"rho": (0.1, 5.0), "lam": (0.0, 1.0)})
    single = replace(synthetic.SWEEP, seeds=(0,))
    alone = replace(synthetic.SWEEP, variants=("sgd",), m=(), knobs={})
    for made, collapsed in ((sweep, 5.0), (single, None), (alone, None)):
        found += looked_at(*stored(tmp_path_factory.mktemp("store"), made, collapsed))
    for e in EXPERIMENTS.values():
        of = [study for folder in parts.folders(e.data) if (study := studies.from_folder(folder))]
        found.append((Result(e), parts.together(of), e.name))
    found.append((escapes.VIEW, escapes.bundled(), "escape"))
    pair = looking.looked(tmp_path_factory.mktemp("looked"))
    alone = replace(pair, seen=pair.seen[:1])
    for view in (v for v in VIEWS.values() if isinstance(v, LookView)):
        found += [(view, at, view.key) for at in (pair, pair.but("random"), alone)]
    for key, land in LANDSCAPES.items():
        spec = Walk(landscape=key)
        paths = {v: [[land.start, land.saddle]] for v in spec.variants}
        found.append((walks.VIEW, walks.Walked({"paths": paths}, spec), f"walk-{key}"))
    for s in (Setting(), Setting(variant="nusam"), Setting("logistic", batch=24, m=24), Setting("two_weights", "sam")):
        of = theory.Theory(s, play(s))
        found += [(v, of, f"theory-{s}") for v in VIEWS.values() if v.page == "theory" and not isinstance(v, StudyView)]
        found += [(theory_moments.VIEW, of._replace(moment=moment), moment) for moment in theory_moments.MOMENTS]
    folder = tmp_path_factory.mktemp("decisions")
    for i, made in enumerate(({}, {"gain": 0.3, "margin": 0.5, "score": "acc"}, {"until": "look"}, {"until": "sam"})):
        of = records.written(folder / f"{i}.jsonl", **made)
        found += [(v, of, f"decision-{i}") for v in VIEWS.values() if v.page == "decide"]
    found.append((run_curves.VIEW, compared(example), "run-curves"))
    return found


def compared(study: Study) -> run_curves.Compared:
    """Eight runs of the example."""
    spec = {r.key: r.to_dict() for r in study.spec.runs()}
    none = pd.DataFrame(columns=["quantity", "value", "stderr"])
    runs = [compare.Run(key, spec[key], "done", "", none) for key in study.runs["run"][:8]]
    read = recorded.among(recorded.bundled())
    return run_curves.Compared(runs, lambda quantities: read(quantities, 40), ("test_acc", "train_loss"))


@pytest.fixture(scope="module")
def drawn(everything: list[At]) -> list[Drawn]:
    """Those that have something to show, with their frames."""
    found = [Drawn(view, at, view.frame(at), name) for view, at, name in everything]
    return [of for of in found if len(of.frame)]


def test_whatever_file_has_a_view_is_registered_and_stands_on_a_page() -> None:
    files = {f.stem for f in FOLDER.glob("*.py") if re.search(r"^VIEW = ", f.read_text(), re.MULTILINE)}
    assert {type(v).__module__.rpartition(".")[2] for v in VIEWS.values()} == files
    assert len(VIEWS) == len(files) >= 14
    assert {v.page for v in VIEWS.values()} <= set(router.PAGES)


def test_every_view_is_drawn_of_some_study(drawn: list[Drawn]) -> None:
    assert {of.view.key for of in drawn} == {*VIEWS, "result"}


def test_every_view_has_a_caption_an_alternative_text_and_a_name_for_its_files(drawn: list[Drawn]) -> None:
    for of in drawn:
        view, at, frame, name = of.view, of.at, of.frame, of.name
        found = view.findings(frame, at)
        for text in (view.caption(frame, at), view.alt(frame, at, found), *found):
            assert text.rstrip().endswith((".", ")")), f"{name}: {text}"
            assert not re.search(r"\bnan\b|None|\d%", text), f"{name}: {text}"
        assert re.fullmatch(r"[\w.-]+", view.name(at)), name


def test_what_a_view_lacks_can_be_run(everything: list[At]) -> None:
    lacking = {view.key: view.missing(at) for view, at, _ in everything if isinstance(at, Selection)}
    for key, missing in lacking.items():
        for sweep in missing.sweeps.values() if missing else ():
            assert sweep.runs(), key


@pytest.mark.parametrize("columns", WIDTHS)
def test_at_every_width_each_trace_is_within_its_axes_and_no_title_meets_another(
    drawn: list[Drawn], columns: int
) -> None:
    for of in drawn:
        fig, name = of.figures[columns], of.name
        assert fig.data, name
        for trace in fig.data:
            assert seen(fig, trace), f"{name}, {columns} columns: nothing of {trace.name} is seen on {trace.yaxis}"
        room = WIDTHS[columns] - fig.layout.margin.l - fig.layout.margin.r
        titles = [t for t in fig.layout.annotations if t.text and t.yref == "paper"]
        for a, b in itertools.combinations(titles, 2):
            apart = abs(a.x - b.x) * room - (width(a) + width(b)) / 2
            assert a.y != b.y or apart > 0, f"{name}, {columns} columns: “{a.text}” meets “{b.text}”"


def test_every_legend_stands_below_its_title_beside_which_the_tool_bar_is(drawn: list[Drawn]) -> None:
    checked = set()
    for of, columns in itertools.product(drawn, WIDTHS):
        view, name, layout = of.view, of.name, of.figures[columns].layout
        assert layout.margin.t >= panels.DROP + panels.TITLE, f"{name}, {columns}: a scale under the tool bar"
        if view.key not in {"rho_m", "result"}:  # a scale of colours; a legend below
            checked.add(view.key)
            assert (layout.legend.yref, layout.legend.yanchor) == ("container", "top"), name
            assert layout.legend.title.text, name
            entries = {t.name for t in of.figures[columns].data if t.showlegend is not False and t.name}
            rows = panels._legend_rows(entries, panels.LETTERS[columns])
            assert layout.margin.t >= panels.DROP + panels.TITLE + panels.ROW * (rows - 1), f"{name}, {columns}"
    assert checked == set(VIEWS) - {"rho_m"}


def test_marks_stand_at_the_values_of_the_frame(drawn: list[Drawn]) -> None:
    on = {"sharpness": "m", "rw_sam": "lam", "m_sharpness": "x", "noise": "x", "tenths": "x", "dynamics": "x"}
    chosen = [of for of in drawn if of.view.key in on]
    assert {of.view.key for of in chosen} == set(on)
    for of in chosen:
        marks = [t for t in of.figures[6].data if "markers" in t.mode and t.cliponaxis is None]
        assert {x for t in marks for x in t.x} <= set(of.frame[on[of.view.key]].dropna()), of.name


def test_panels_of_dynamics_share_their_epochs_and_accuracies_stay_below_one(drawn: list[Drawn]) -> None:
    of = [(o.figures[6], o.frame) for o in drawn if o.view.key == "dynamics"]
    assert max(frame["panel"].nunique() for _, frame in of) > 2
    for fig, frame in of:
        panels = [f"{k or ''}" for k in (0, *range(2, frame["panel"].nunique() + 1))]
        assert {fig.layout[f"xaxis{k}"].matches for k in panels} == {"x"}
        accuracy = fig.layout[f"yaxis{panels[list(dict.fromkeys(frame['panel'])).index('test_acc')]}"]
        assert 0 <= accuracy.range[0] + 0.05 < accuracy.range[1] <= 1.05


def seen(fig: go.Figure, trace: Any) -> bool:
    """Whether a trace has a point that its axes show; what stands for something in the legend alone has to be there."""
    if trace.type in ("heatmap", "contour"):
        return any(v is not None for row in trace.z for v in row)
    if trace.type == "bar":
        return any(v is not None and v > 0 for v in trace.x)
    points = [(x, y) for x, y in zip(trace.x, trace.y, strict=True) if known(x) and known(y)]
    if not points:
        return bool(trace.showlegend) and len(trace.x) == 1
    axes = [axis(fig, getattr(trace, f"{k}axis") or k, k) for k in "xy"]
    return any(all(within(v, *ax) for v, ax in zip(point, axes, strict=True)) for point in points)


def known(value: Any) -> bool:
    return value is not None and (isinstance(value, str) or math.isfinite(value))


def axis(fig: go.Figure, name: str, kind: str) -> tuple[str, Any]:
    """Type and range, the latter that of an axis it is said to match where it has none of its own."""
    found = fig.layout[name.replace(kind, f"{kind}axis", 1)]
    other = fig.layout[found.matches.replace(kind, f"{kind}axis", 1)] if found.matches else found
    return found.type or "linear", found.range or other.range


def within(value: Any, kind: str, ends: Any) -> bool:
    if isinstance(value, str):
        return True
    if kind == "log" and value <= 0:
        return False
    at = math.log10(value) if kind == "log" else value
    return ends is None or min(ends) <= at <= max(ends)


def width(title: Any) -> float:
    """Of a line of text, px."""
    lines = re.sub(r"<br/?>", "\n", title.text)
    longest = max(len(re.sub(r"<[^>]+>", "", line)) for line in lines.split("\n"))
    return 0.5 * (title.font.size or 14) * longest


def test_a_point_off_a_logarithmic_axis_is_not_seen() -> None:
    fig = go.Figure(go.Scatter(x=[1, 2], y=[30, 300]))
    fig.update_yaxes(range=[0.7, 3])
    assert not seen(fig, fig.data[0]), "a range of exponents on a linear axis, as the steps of Saddles had"
    fig.update_yaxes(type="log")
    assert seen(fig, fig.data[0])
    fig.add_scatter(x=[1], y=[-1])
    assert not seen(fig, fig.data[1])
