"""The views of the page Theory say what their numbers say, and where there are none, why."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from sam_dash.maths.theory import moments, weak
from sam_dash.maths.theory.setting import PROBLEMS, Played, Setting, play
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.orders import order
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import (
    gradient_norms,
    predicted_gradient,
    regulariser,
    terms,
    theory_moments,
    theory_paths,
    weak_error,
)  # fmt: skip
from sam_dash.results.views.theory import ITERATES, SDE, Theory, named, said
from sam_dash.results.views.view import Selection
from sam_dash.runs.spec import Problem, SweepSpec, Training


@pytest.fixture(scope="module")
def usual() -> Theory:
    return Theory(Setting(), play(Setting()))


def test_an_order_is_the_slope_on_log_axes_with_the_interval_of_a_regression() -> None:
    x = [0.1, 0.2, 0.4, 0.8]
    exact = order(x, [3 * v**1.5 for v in x])
    assert (exact.mean, exact.low, exact.high, exact.n) == pytest.approx((1.5, 1.5, 1.5, 4))
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        m = order(x, [v**2 * math.exp(0.1 * e) for v, e in zip(x, rng.normal(size=4), strict=True)])
        held += m.low <= 2 <= m.high
    assert 0.92 <= held / 400 <= 0.98
    assert order([0.1, 0.2, 0.4], [1.0, 0.0, 2.0]).n == 0, "a point that is not positive has no logarithm"
    assert order([0.1, 0.2], [1.0, 2.0]).n == 0


def test_an_estimated_variance_has_the_interval_that_normal_paths_give_it() -> None:
    paths = 3 * np.random.default_rng(0).normal(size=(4, 20_000))
    value, half = theory_moments.estimate(paths, theory_moments.VARIANCE)
    np.testing.assert_allclose(value, 9, rtol=0.05)
    np.testing.assert_allclose(half, 1.96 * 9 * (2 / 20_000) ** 0.5, rtol=0.05)
    value, half = theory_moments.estimate(paths, theory_moments.MEAN)
    np.testing.assert_allclose(half, 1.96 * 3 / 20_000**0.5, rtol=0.05)


def test_lines_are_exact_moments_and_points_are_the_ensembles(usual: Theory) -> None:
    frame = theory_moments.VIEW.frame(usual)
    s, (it, _) = usual.setting, usual.played.exact
    line = frame[(frame["of"] == ITERATES) & (frame["panel"] == "x_sq")]
    np.testing.assert_allclose(line["y"], np.trace(it.second, axis1=1, axis2=2))
    assert list(line["x"]) == pytest.approx([s.eta * k for k in range(s.steps + 1)])
    points = frame[(frame["line"] == SDE) & (frame["panel"] == "x1")]
    assert points["y"].iloc[-1] == pytest.approx(usual.played.sde[-1, :, 0].mean())
    assert set(points["n"]) == {s.members}
    variance = theory_moments.VIEW.frame(usual._replace(moment=theory_moments.VARIANCE))
    assert set(variance.loc[variance["kind"] == "reference", "panel"]) == {"x1"}, "the others take fourth moments"
    gap = theory_moments.VIEW.frame(usual._replace(moment=theory_moments.DIFFERENCE))
    exact = gap[(gap["kind"] == "reference") & (gap["panel"] == "x1")]["y"]
    np.testing.assert_allclose(exact, usual.played.exact[0].mean[:, 0] - usual.played.exact[1].mean[:, 0])


def test_the_sentence_counts_the_intervals_that_hold_the_exact_value(usual: Theory) -> None:
    said_ = theory_moments.VIEW.findings(theory_moments.VIEW.frame(usual), usual)[0]
    inside, of = map(int, said_.partition("lies in ")[2].partition(" of the")[0].split(" of "))
    assert of == 60
    assert inside > 45
    moved = usual._replace(played=Played(usual.played.iterates + 0.2, usual.played.sde, usual.played.exact))
    assert theory_moments.VIEW.findings(theory_moments.VIEW.frame(moved), moved)[0].startswith(
        "The exact value lies in 0 of 60 of the iterates"
    )
    ends = [
        line for line in theory_moments.VIEW.findings(theory_moments.VIEW.frame(moved), moved) if "they differ" in line
    ]
    assert len(ends) >= 2
    far = moved._replace(moment=theory_moments.DIFFERENCE)
    assert "leaves out 0 at 15 of 15" in " ".join(theory_moments.VIEW.findings(theory_moments.VIEW.frame(far), far))


def test_the_weak_error_is_that_of_the_moments_and_its_headline_has_size_and_order(usual: Theory) -> None:
    frame = weak_error.VIEW.frame(usual)
    s = usual.setting
    here = frame[(frame["panel"] == "eta") & (frame["x"] == s.eta)].set_index("line")["y"]
    found = weak.error(s.least_squares, s.rule, s.draw, s.eta, s.start, weak_error.TIME)
    assert [here[k] for k in (weak_error.MEAN, weak_error.SECOND, weak_error.COV)] == pytest.approx(list(found))
    first, second, third, fourth = weak_error.VIEW.findings(frame, usual)
    assert first.startswith("USAM, m = 2: at η = 0.1 the SDE’s mean is off by at most 0.0237")
    assert first.endswith("order 1.01 [1.00, 1.02].")
    assert "order 1.00 [1.00, 1.00]; their covariance, relative to its size: order 1.00 [1.00, 1.00]" in second
    assert "off by 43.0 % even at η = 0.0002" in third
    assert "0.98 [0.96, 0.99]" in fourth
    assert "1.96 [1.94, 1.99]" in fourth


def test_step_lengths_and_radii_at_which_moments_grow_are_left_out() -> None:
    s = Setting(spectrum=(1.0,) * 6, m=1, batch=1, rho=1.0)
    frame = weak_error.VIEW.frame(Theory(s, play(s)))
    exact = moments.Exact(s.least_squares, s.rule, s.draw)
    kept = {eta for eta in weak_error.ETAS if exact.growth(eta) < 1}
    assert set(frame.loc[frame["panel"] == "eta", "x"]) == kept < set(weak_error.ETAS)
    assert frame.loc[frame["panel"] == "rho", "x"].max() < 1


def test_without_noise_or_radius_there_is_no_sentence_on_what_is_not_there() -> None:
    for s in (Setting(rho=0.0), Setting(batch=24, m=24, replace=False)):
        at = Theory(s, play(s))
        frame = weak_error.VIEW.frame(at)
        found = weak_error.VIEW.findings(frame, at)
        assert found[0].startswith(f"{named(s)}: at η = 0.1")
        assert not any("nan" in line for line in found)
        assert not any("With the diffusion at ρ = 0" in line for line in found)


@pytest.mark.parametrize(("problem", "variant"), [("logistic", "usam"), ("two_weights", "nusam"), ("logistic", "sam")])
def test_what_is_not_known_exactly_is_not_drawn(problem: str, variant: str) -> None:
    s = Setting(problem, variant)
    at = Theory(s, play(s))
    assert at.played.exact is None
    assert weak_error.VIEW.frame(at).empty
    assert set(theory_moments.VIEW.frame(at)["kind"]) == {"mean"}
    assert predicted_gradient.VIEW.frame(at).empty == (variant == "sam")
    assert ("Qualitative" in theory_moments.VIEW.caption(theory_moments.VIEW.frame(at), at)) == (variant == "sam")
    assert PROBLEMS[problem] in said(s)


def test_the_order_of_the_mean_step_and_the_radius_from_which_tr_V_misleads() -> None:
    s = Setting("logistic")
    at = Theory(s, play(s))
    frame = predicted_gradient.VIEW.frame(at)
    first, second = predicted_gradient.VIEW.findings(frame, at)
    assert first.startswith("USAM, m = 2: the mean step is predicted to order 1.98 [1.96, 2.00] in ρ")
    assert first.endswith("without tr V to order 0.93 [0.87, 1.00].")
    assert second == "Beyond ρ ≈ 0.34 the term in tr V makes the prediction worse."
    assert not (frame["low"] < frame["y"]).any(), "exact"
    drawn = Setting("logistic", m=8)
    frame = predicted_gradient.VIEW.frame(Theory(drawn, at.played))
    assert (frame["low"] < frame["y"]).all()
    told = predicted_gradient.VIEW.caption(frame, Theory(drawn, at.played))
    assert "4,096 micro-batches drawn at random" in told


def test_the_radius_is_where_the_lines_cross_on_log_axes() -> None:
    x = [0.1, 1.0, 10.0]
    without = pd.Series([1.0, 1.0, 1.0], x)
    assert "ρ ≈ 0.32 the" in predicted_gradient.worse(pd.Series([0.1, 10.0, 100.0], x), without)
    assert "better at every ρ up to 10" in predicted_gradient.worse(pd.Series([0.1, 0.2, 0.3], x), without)
    assert "already at ρ = 0.1" in predicted_gradient.worse(pd.Series([2.0, 3.0, 4.0], x), without)
    assert "helps again" in predicted_gradient.worse(pd.Series([0.1, 10.0, 0.1], x), without)


def test_paths_are_drawn_step_by_step_and_the_thick_ones_are_means_of_all(usual: Theory) -> None:
    frame = theory_paths.VIEW.frame(usual)
    fig = theory_paths.VIEW.figure(frame, usual, 6)
    assert [t.name for t in fig.data][1:] == [ITERATES, f"{ITERATES}, mean of all", SDE, f"{SDE}, mean of all"]
    assert len(fig.frames) == theory_paths.FRAMES
    last = frame[(frame["line"] == SDE) & (frame["path"] == -1)].iloc[-1]
    assert last["x"] == pytest.approx(usual.played.sde[-1, :, 0].mean())
    assert f"({last['x']:.3g}".replace("-", "−") in theory_paths.VIEW.findings(frame, usual)[0]
    assert len(fig.frames[0].data[1].x) < len(fig.frames[-1].data[1].x)


def test_a_setting_that_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"spectrum = 1, 0: expected 2 to 6 numbers above 0, one a weight"):
        Setting(spectrum=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"spectrum = 1: expected 2 to 6"):
        Setting(spectrum=(1.0,))
    with pytest.raises(ValueError, match=r"m = 3 does not divide the batch size B = 8"):
        Setting(m=3)
    with pytest.raises(TypeError, match="logistic is no least-squares problem"):
        _ = Setting("logistic").least_squares
    assert (Setting(steps=40).finer, Setting(steps=120).finer, Setting("logistic", steps=120).finer) == (16, 5, 1)
    assert Setting(spectrum=(4.0, 2.0)).spectrum == (1.0, 0.5)
    assert Setting(variant="nusam", m=2).draw.m == 8, "n-USAM has no m"


def measured_study(rows: dict[str, tuple[float, float, float]], variant: str = "usam") -> Selection:
    """Three seeds of one variant at m = 2, rho = 0.4, with these final values, 20 samples measured on."""
    sweep = SweepSpec(variants=(variant,), m=(2,), knobs={"rho": (0.4,)}, seeds=(0, 1, 2),
                      problem=Problem(network="mlp:8"), training=Training(batch=4, epochs=2))  # fmt: skip
    records, found = [], []
    for k, run in enumerate(sweep.runs()):
        records.append({"key": run.key, "spec": run.to_dict(), "status": "done", "step": 10, "steps": 10})
        for epoch, (quantity, values) in itertools.product((1.0, 2.0), rows.items()):
            row = {"run": run.key, "step": 5 * epoch, "epoch": epoch, "quantity": quantity, "value": values[k]}
            found.append(row | {"stderr": 0.01, "method": "by hand", "budget": 20, "converged": True})
    runs, curves = tables.runs_frame(records), tables.curves_frame(found)
    finals = tables.finals(runs, curves[curves["epoch"] == 2])
    return Selection(Study("0123456789ab", sweep, runs, finals), finals, runs, lambda *_: curves)


def test_the_terms_are_those_of_the_theory_at_the_radius_and_m_of_the_run() -> None:
    at = measured_study({"train_loss": (2.0, 2.0, 2.0), "tr_V": (10.0, 10.0, 10.0), "grad_sq": (1.0, 1.0, 1.0)})
    found = terms.per_run(at).groupby("panel")["y"].first()
    assert found["slope"] == pytest.approx(0.2 * (1 + 10 / 20))
    assert found["noise"] == pytest.approx(0.4 / 4 * 10 * 18 / 19)
    assert found["f"] == 2
    frame = terms.VIEW.frame(at)
    assert terms.VIEW.findings(frame, at) == [
        "USAM, m = 2: ρ/2 ‖∇f‖² is 15.0 % of f at first and 15.0 % at last and ρ/(2m) tr V is 47.4 % of f at first and "
        "47.4 % at last."
    ]
    at = measured_study({"train_loss": (2.0, 2.0, 2.0), "mean_norm@2": (3.0, 3.0, 3.0)}, "sam")
    found = terms.per_run(at).groupby("panel")["y"].first()
    assert dict(found) == pytest.approx({"f": 2, "norm": 0.4 * 3})


def test_where_tr_V_helps_or_misleads_on_a_runs_weights_is_judged_by_seed() -> None:
    rows = {
        "added_error@m=1,rho=0.1": (0.30, 0.31, 0.32), "added_error0@m=1,rho=0.1": (0.90, 0.91, 0.92),
        "added_error@m=1,rho=1": (1.50, 1.51, 1.52), "added_error0@m=1,rho=1": (1.00, 1.02, 1.01),
        "added_error@m=1,rho=0.3": (0.5, 1.0, 1.5), "added_error0@m=1,rho=0.3": (1.0, 1.0, 1.0),
        "added_cos@m=1,rho=1": (0.5, 0.5, 0.5),
    }  # fmt: skip
    at = measured_study(rows)
    frame = regulariser.VIEW.frame(at)
    assert regulariser.VIEW.findings(frame, at) == [
        "m_eval = 1: at ρ = 0.1 the prediction is off by 31 % of what is added, without tr V by 91 %; with tr V it is "
        "better at ρ = 0.1; with tr V it is worse at ρ = 1; a tie at 1 of 3 radii."
    ]
    assert regulariser.names(at) == ["USAM, m = 2"]
    assert frame.loc[frame["panel"] == "added_cos", "y"].tolist() == [0.5]
    assert "regulariser" in next(iter(regulariser.VIEW.missing(at).sweeps.values())).measures.what


def test_a_norm_that_does_not_fall_with_the_batch_is_counted() -> None:
    at = measured_study(
        {"mean_norm@1": (4.0, 4.0, 4.0), "mean_norm@2": (3.0, 3.0, 5.0), "mean_norm@4": (2.0, 2.0, 2.0)}
    )
    (said_,) = gradient_norms.VIEW.findings(gradient_norms.VIEW.frame(at), at)
    assert said_ == (
        "E‖∇f_γ‖ falls at every step from 1 to 4 samples in 2 of 3 runs; the smallest step is by a factor of 0.8."
    )
