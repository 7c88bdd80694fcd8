"""The spectral density as a figure, from a hand-made frame."""

import math

import pandas as pd
import pytest

from sam_dash.results.numbers import density
from sam_dash.results.numbers import study as studies
from sam_dash.results.views import density_figure

METHOD = "stochastic Lanczos quadrature, 8 runs; per unit of asinh(x / 0.01), smoothed by 0.15"
FRAME = pd.DataFrame(
    [
        *(
            ("a", step, f"density@{x:.6g}", y * step, 0.1, METHOD)
            for step in (1, 2) for x, y in ((10, 0.2), (-0.5, 0.1), (0, 3))
        ),
        ("b", 2, "density@0.03", 1.0, 0.5, METHOD),
        ("b", 2, "lam_max", 12.0, 0.5, "Lanczos"),
    ],
    columns=["run", "step", "quantity", "value", "stderr", "method"],
)  # fmt: skip


def named(frame: pd.DataFrame) -> pd.DataFrame:
    rows = density.rows(frame)
    return rows.assign(line="line " + rows["run"], colour="#0072B2", dash="dash")


def test_rows_are_the_density_alone_in_order() -> None:
    rows = density.rows(FRAME)
    assert list(rows["eigenvalue"]) == [-0.5, 0, 10, -0.5, 0, 10, 0.03]
    assert set(rows["scale"]) == {0.01}
    assert density.rows(FRAME[FRAME["quantity"] == "lam_max"]).empty


def test_a_line_is_the_last_step_of_a_run_with_its_band() -> None:
    fig = density_figure.figure(named(FRAME))
    lines = [t for t in fig.data if t.showlegend is not False]
    assert [t.name for t in lines] == ["line a", "line b"]
    assert list(lines[0].y) == [0.2, 6.0, 0.4]
    assert list(lines[0].x) == pytest.approx([math.asinh(v / 0.01) for v in (-0.5, 0, 10)])
    upper, lower = fig.data[:2]
    assert list(upper.y) == pytest.approx([0.3, 6.1, 0.5])
    assert list(lower.y) == pytest.approx([0.1, 5.9, 0.3])


def test_ticks_are_powers_of_ten_within_the_range() -> None:
    fig = density_figure.figure(named(FRAME))
    assert list(fig.layout.xaxis.ticktext) == ["-0.1", "-0.01", "0", "0.01", "0.1", "1", "10"]


def test_no_rows_make_an_empty_figure() -> None:
    assert len(density_figure.figure(named(FRAME[:0])).data) == 0


def test_the_lines_of_a_study_are_named_by_their_cells_in_the_order_of_the_study() -> None:
    study = studies.from_folder(studies.EXAMPLE)
    assert study is not None
    frame = density_figure.one_seed(study, 0)
    names = [t.name for t in density_figure.figure(frame).data if t.showlegend is not False]
    assert names[:4] == ["SGD", "n-SAM", "SAM, m = B = 64", "SAM, m = 32"]
    assert names[-1] == "RW-SAM, λ = 1"
    assert len(set(names)) == len(names) == 13
