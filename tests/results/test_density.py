"""The spectral density as a figure, from a hand-made frame."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from sam_dash.maths import lanczos
from sam_dash.results.numbers import density
from sam_dash.results.numbers import study as studies
from sam_dash.results.views import density_figure
from sam_dash.runs.measures.density import PRODUCTS, STARTS, WIDTH, on_a_grid

METHOD = "stochastic Lanczos quadrature, 8 runs; per unit of asinh(x / 0.01), smoothed by 0.15"
FRAME = pd.DataFrame(
    [
        *(
            ("a", step, f"density@{x:.6g}", y * step, 0.02, METHOD, 7.0)
            for step in (1, 2) for x, y in ((10, 0.2), (-0.5, 0.1), (0, 3))
        ),
        ("b", 2, "density@0.03", 1.0, 0.5, METHOD, float("inf")),
        ("b", 2, "lam_max", 12.0, 0.5, "Lanczos", float("inf")),
    ],
    columns=["run", "step", "quantity", "value", "stderr", "method", "dof"],
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
    factors = [math.exp(2.3646 * 0.02 / y) for y in (0.2, 6, 0.4)]
    assert list(upper.y) == pytest.approx([y * f for y, f in zip((0.2, 6, 0.4), factors, strict=True)], rel=1e-4)
    assert list(lower.y) == pytest.approx([y / f for y, f in zip((0.2, 6, 0.4), factors, strict=True)], rel=1e-4)


def test_an_export_from_before_degrees_of_freedom_were_recorded_takes_them_from_the_number_of_starts() -> None:
    of = density.rows(FRAME)
    old = density.rows(FRAME.assign(dof=float("inf")))
    assert list(of["high"]) == list(old["high"])
    (last,) = old[old["run"] == "b"].itertuples()
    assert last.high == pytest.approx(math.exp(2.3646 * 0.5), rel=1e-4)


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


def test_the_interval_of_the_density_covers_a_dense_spectrum_where_two_standard_errors_do_not() -> None:
    """A bulk and ten outliers, 300 measurements of eight starts: 93 % of the intervals over all points, 88 % of +-1.96
    standard errors. At an outlier alone a start gives one squared normal: at least 85 %.
    """
    g = torch.Generator().manual_seed(0)
    values = torch.cat([torch.linspace(2, 20, 10), 0.1 * torch.randn(190, generator=g)]).double()
    Q, _ = torch.linalg.qr(torch.randn(200, 200, generator=g, dtype=torch.float64))
    H, reps = (Q * values) @ Q.T, 300
    starts = torch.randn(reps * STARTS, 200, generator=g, dtype=torch.float64)
    found = lanczos.lanczos(lambda V: V @ H, starts, iterations=PRODUCTS)
    rows = []
    for i, one in enumerate(found.split(STARTS)):
        grid = on_a_grid(one)
        rows += [(str(i), 0, q, e.value, e.stderr, e.method, e.dof) for q, e in grid.items()]
    frame = density.rows(pd.DataFrame(rows, columns=FRAME.columns))
    x, c = frame["eigenvalue"].to_numpy(), frame["scale"].to_numpy()
    bent = np.arcsinh(x / c)[:, None] - np.arcsinh(values.numpy() / c[:, None])
    truth = (np.exp(-((bent / WIDTH) ** 2) / 2) / (WIDTH * math.sqrt(2 * math.pi))).mean(1)
    covered = ((frame["low"] <= truth) & (truth <= frame["high"])).to_numpy()
    short = ((frame["density"] - truth).abs() <= 1.96 * frame["stderr"]).to_numpy()
    seen = truth > 1e-3
    assert 0.925 <= covered[seen].mean() <= 0.98
    assert short[seen].mean() < 0.9
    outlier = seen & (np.arcsinh(x / c) > 4)
    assert 0.85 <= covered[outlier].mean() <= 0.98
