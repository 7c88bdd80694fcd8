"""The shares of the tenths: which epochs they are of, their means, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from scipy import stats

from sam_dash.results import words
from sam_dash.results.drawing import cells
from sam_dash.results.drawing.panels import LOG
from sam_dash.results.numbers import tables
from sam_dash.results.numbers.study import Study
from sam_dash.results.views import rw_weights, tenths
from tests.results.frames import SWEEP

RW = replace(SWEEP, variants=("rwsam",), m=(4,), knobs={"rho": (0.1,), "lam": (1.0, 0.5)}, seeds=(0, 1))
LOOK = cells.Looks(
    tables.runs_frame({"key": r.key, "spec": r.to_dict(), "status": "done"} for r in RW.runs()), RW.training.batch
)


def made(epochs: int, rise: float = 0.02) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs, and curves whose first tenth holds .2 + seed/10 + rise * epoch and the others the rest, equally."""
    runs = tables.runs_frame({"key": r.key, "spec": r.to_dict(), "status": "done"} for r in RW.runs())
    rows = []
    for r in RW.runs():
        for epoch in range(1, epochs + 1):
            top = 0.2 + r.seed / 10 + rise * epoch
            for q in words.TENTHS:
                value = top if q == "p_tenth@1" else (1 - top) / 9
                rows.append({"run": r.key, "step": epoch, "epoch": float(epoch), "quantity": q, "value": value})
    return runs, pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (20, {"early": (0, 2), "middle": (9, 11), "late": (18, 20)}),
        (5, {"early": (0, 1), "middle": (2, 3), "late": (4, 5)}),
        (2, {"early": (0, 1), "late": (1, 2)}), (1, {"early": (0, 1)}), (0, {}),
    ],
)  # fmt: skip
def test_the_parts_are_tenths_of_the_training(epochs, expected) -> None:
    curves = made(epochs)[1] if epochs else pd.DataFrame({"epoch": []})
    assert {k: (p.first, p.last) for k, p in tenths.parts(curves).items()} == expected


def test_the_frame_has_seed_means_with_intervals_and_the_equal_weights() -> None:
    runs, curves = made(20)
    frame = tenths.frame(tenths.per_run(curves, runs), LOOK)
    late = frame[(frame["panel"] == "late") & (frame["kind"] == "mean")]
    assert list(late["line"].unique()) == ["RW-SAM, λ = 1", "RW-SAM, λ = 0.5"]
    first = late[late["x"] == 1].iloc[0]
    assert first["y"] == pytest.approx(0.25 + 0.02 * 19.5)
    assert first["high"] - first["y"] == pytest.approx(12.7062 * 0.05, rel=1e-4)  # t of one degree, sd/sqrt(2) = .05
    assert late.groupby("line")["y"].sum().tolist() == pytest.approx([1, 1])
    equal = frame[frame["kind"] == "reference"]
    assert len(equal) == 30
    assert set(equal["y"]) == {0.1}


def test_what_is_said_is_paired_by_seed_and_a_tie_is_called_one() -> None:
    runs, curves = made(20)
    found = tenths.findings(tenths.per_run(curves, runs), LOOK)
    assert found[0] == (
        "RW-SAM, λ = 1: the most weighted tenth holds 28 % of the weight early and 64 % late "
        "(+36.0 points [36.0, 36.0], paired, n = 2); late, the less weighted half 20.0 %."
    )
    assert "(a tie, paired, n = 2)" in tenths.findings(tenths.per_run(made(20, 0.0)[1], runs), LOOK)[0]
    fewer = tenths.findings(tenths.per_run(curves, runs[runs["seed"] == 0]), LOOK)
    assert "(one seed: no interval)" in fewer[0]
    once = tenths.findings(tenths.per_run(made(1)[1], runs), LOOK)
    assert once[0] == "RW-SAM, λ = 1: the most weighted tenth holds 27 % of the weight, the less weighted half 40.6 %."


def test_the_figure_has_one_scale_and_its_caption_says_what_a_tenth_is() -> None:
    runs, curves = made(20)
    table = tenths.per_run(curves, runs)
    frame = tenths.frame(table, LOOK)
    fig = tenths.figure(frame, tenths.titles(curves))
    assert [a.text.removesuffix(LOG) for a in fig.layout.annotations] == [
        "Early: epochs 0 to 2", "Middle: epochs 9 to 11", "Late: epochs 18 to 20",
    ]  # fmt: skip
    assert {fig.layout[axis].matches for axis in ("yaxis", "yaxis2", "yaxis3")} == {"y"}
    assert {fig.layout[axis].type for axis in ("yaxis", "yaxis2", "yaxis3")} == {"log"}
    text = tenths.caption(Study("0123456789ab", RW, runs, pd.DataFrame()), table, frame)
    assert "a tenth is 0.4 of B = 4, and a sample on a border counts to both sides" in text
    assert "over 2 seeds" in text
    assert "One-probe norms are noisy" in text


def test_the_effective_sample_size_has_its_interval_early_and_late() -> None:
    runs, _ = made(1)
    rows = [
        {"run": r.key, "step": step, "epoch": step / 2, "quantity": "ess", "value": 8.0 + 2 * r.seed - 0.1 * step}
        for r in RW.runs() for step in range(1, 21)
    ]  # fmt: skip
    found = rw_weights.findings(Study("0123456789ab", RW, runs, pd.DataFrame()), pd.DataFrame(rows), runs)
    half = stats.t.ppf(0.975, 1)  # two seeds, 2 apart
    early, late = (f"{v:.2f} [{v - half:.2f}, {v + half:.1f}]".replace("-", "\u2212") for v in (9 - 0.15, 9 - 1.9))
    assert found[0] == (
        f"RW-SAM, λ = 1: effective sample size {early} in the first epoch, {late} over the last tenth of the training "
        "(95 %, n = 2)."
    )


def test_without_tenths_there_is_no_row() -> None:
    runs, _ = made(1)
    assert tenths.per_run(tables.curves_frame([]), runs).empty
