"""The page Saddles through app.py, answered in this process by what the computing process runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.results.claims import escape_claims
from sam_dash.results.drawing import contours, paper
from sam_dash.results.views import escapes, walks
from sam_dash.runs.calculator import Calculator
from sam_dash.runs.saddle_work import answer
from sam_dash.runs.saddles import Escape, Walk
from sam_dash.ui import saddle_parts
from tests.ui.test_pages import charts, text_of

Visit = Callable[..., AppTest]


class Here:
    """In the place of the process."""

    alive = True

    def ask(self, spec: Walk | Escape) -> dict[str, Any]:
        return answer(spec)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saddle_parts, "Calculator", Here)


def test_a_link_opens_the_trajectories_it_names_and_they_are_drawn_step_by_step(visit: Visit) -> None:
    at = visit("saddles", walk_rho="0.7", walk_steps="50", walkers=["SGD", "USAM"], walk_y_saddle="0.5")
    fig = charts(at)[0]
    assert [t["name"] for t in fig["data"]][-2:] == ["SGD", "USAM"]
    assert len(fig["frames"]) == 30
    assert fig["frames"][0]["data"][0]["x"][:1] == [-2.5]
    assert len(fig["frames"][-1]["data"][1]["x"]) == 52  # the start, 50 steps, and the gap after a seed
    assert "ρ_c = 1/|λ₁| = 0.5; ρ = 0.7 is above: USAM's saddle attracts" in text_of(at)
    table = next(d.value for d in at.dataframe if "The saddle" in d.value)
    assert list(table["The saddle"]) == ["repels", "attracts"]
    assert [table.iloc[1, 1], table["Measured growth a step"][1]] == pytest.approx(
        [1 + 0.01 * 2 * (1 - 0.7 * 2)] * 2, rel=1e-5
    )


def test_noise_draws_a_line_a_seed_and_the_csv_has_every_point(visit: Visit) -> None:
    at = visit("saddles", walk_sigma="0.5", walk_seeds="3", walk_steps="50", walkers=["SGD"], walk_tab="Data")
    frame = next(d.value for d in at.dataframe if "seed" in d.value)
    assert frame["seed"].nunique() == 3
    x = charts(at)[0]["data"][-1]["x"]
    assert [v for v in x if v is not None] == pytest.approx(list(frame["x"]))


def test_the_network_shows_the_bundled_result_and_judges_the_claims(visit: Visit) -> None:
    at = visit("saddles", saddle_of="In a network")
    assert "The result that ships with the project" in text_of(at)
    judged = escape_claims.judge(escapes.runs(escapes.bundled()))
    assert len(judged) == 5
    for column, before in (("Claim", "**"), ("Verdict", ""), ("These runs", ""), ("Rule", "Rule: ")):
        assert all(before + told in text_of(at) for told in judged[column])
    assert not at.error


def test_other_settings_of_the_network_are_run_when_asked_for(visit: Visit) -> None:
    query = {"saddle_of": "In a network", "escape_batch": "64", "escape_momentum": "0", "escape_rho": "0.5, 2"}
    at = visit("saddles", **query, escape_steps="300", escape_seeds="6", escapers=["SGD", "USAM"])
    assert "Not run yet at these settings" in text_of(at)
    at.button(key="escape_run").click().run()
    text = text_of(at)
    assert text.index(escape_claims.SUPPORTED) < text.index("Rule: At the largest batch, without momentum")


def test_bad_settings_are_refused_in_words(visit: Visit) -> None:
    at = visit("saddles", saddle_of="In a network", escape_batch="48")
    assert "expected divisors of N = 64" in at.error[0].value
    at = visit("saddles", saddle_of="In a network", escape_rho="a half")
    assert "expected a number in [0, 20]" in at.error[0].value


def test_the_bundled_result_is_what_the_command_computes() -> None:
    """One cell of it, computed anew."""
    spec = Escape(variants=("usam",), shares=(0.5,), batches=(64,), momenta=(0.9,), seeds=4)
    anew = escapes.runs(answer(spec))
    known = escapes.runs(escapes.bundled()).query(
        "variant == 'usam' and share == .5 and batch == 64 and momentum == .9"
    )
    assert list(anew["step"]) == list(known["step"])[:4]


def test_the_process_answers_and_says_what_is_wrong() -> None:
    calculator = Calculator()
    try:
        found = calculator.ask(Walk(variants=("sgd",), steps=3))
        assert found["paths"]["sgd"][0][1] == pytest.approx([-2.5 + 0.05, -0.102])
        spec = Walk()
        object.__setattr__(spec, "variants", ("slsam",))
        with pytest.raises(RuntimeError, match="unknown variant 'slsam'"):
            calculator.ask(spec)
        assert calculator.alive
        calculator.process.kill()
        with pytest.raises(RuntimeError, match="process ended"):
            calculator.ask(Walk())
        assert json.dumps(found)
    finally:
        calculator.close()


def test_the_contour_lines_are_where_the_loss_has_their_height() -> None:
    spec = Walk(steps=2)
    line = walks.figure(walks.frame(answer(spec), spec), spec).data[0]
    x, y = (np.array([v for v in a if v is not None]) for a in (line.x, line.y))
    levels = np.linspace(np.arcsinh(-9), np.arcsinh(9), walks.LEVELS + 2)[1:-1]
    off = np.abs(np.arcsinh(x**2 - y**2)[:, None] - levels).min(1)
    assert len(x) > 1000
    assert off.max() < 0.02 * np.ptp(levels)


def test_pieces_of_a_contour_that_meet_are_one_line_and_none_is_lost() -> None:
    ring = [((0.0, 0.0), (1.0, 0.0)), ((1.0, 1.0), (1.0, 0.0)), ((0.0, 1.0), (1.0, 1.0)), ((0.0, 0.0), (0.0, 1.0))]
    path = [((5.0, 0.0), (6.0, 0.0)), ((7.0, 0.0), (6.0, 0.0))]
    lines = list(contours.joined([*ring, *path]))
    assert sorted(map(len, lines)) == [3, 5]
    drawn = [frozenset(piece) for line in lines for piece in itertools.pairwise(line)]
    assert sorted(map(sorted, drawn)) == sorted(sorted(piece) for piece in (*ring, *path))


def test_on_paper_there_is_nothing_to_play() -> None:
    spec = Walk(steps=2)
    drawn = walks.figure(walks.frame(answer(spec), spec), spec)
    printed = paper.to_paper(drawn, paper.WIDTHS["89 mm"])
    assert not printed.frames
    assert not printed.layout.sliders
    assert not printed.layout.updatemenus
    assert drawn.frames


def test_on_a_telephone_the_network_has_a_row_a_setting_and_the_same_numbers() -> None:
    answer = escapes.bundled()
    cells = escapes.frame(escapes.runs(answer))
    wide, narrow = (escapes.figure(cells, answer, small) for small in (6, 1))
    assert [list(map(str, t.y)) for t in wide.data] == [list(map(str, t.y)) for t in narrow.data]
    tops = [narrow.layout[f"yaxis{k or ''}"].domain[1] for k in (0, 3, 5, 7)]
    assert tops == sorted(tops, reverse=True)
    assert len(set(tops)) == 4
    shares = [narrow.layout[f"yaxis{k or ''}"].tickformat for k in (0, 2, 3, 4)]
    assert shares == [".0%", None, ".0%", None]
    steps = [wide.layout[f"yaxis{k}"] for k in (5, 6, 7, 8)]
    assert {(axis.type, axis.range) for axis in steps} == {("log", steps[0].range)}, "a row shares its scale"
