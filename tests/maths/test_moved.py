"""m-sharpness and the curvature along micro-batches' gradients from shared passes, against their definitions."""

from __future__ import annotations

import pytest
import torch

from sam_dash.maths import ascent, curvature, m_sharpness
from sam_dash.maths.estimate import Estimate
from sam_dash.maths.fast import m_sharpness as moved
from sam_dash.maths.fast import noise as ghost
from sam_dash.maths.flat import cross_entropies
from tests.maths.test_ghost import CASES, N, generators, problem

SIZES = (1, 3, 4, 12)


@pytest.fixture(params=[False, True], ids=["one piece", "pieces"])
def _pieces(request, monkeypatch) -> None:
    if request.param:
        monkeypatch.setattr(ghost, "ELEMENTS", 1)


def agree(found: Estimate, plain: Estimate) -> None:
    assert found.value == pytest.approx(plain.value, rel=1e-8, abs=1e-11)
    assert found.stderr == pytest.approx(plain.stderr, rel=1e-7, abs=1e-11)
    assert (found.budget, found.method) == (plain.budget, plain.method)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize(
    ("ours", "definition", "more"),
    [(moved.m_sharpness, m_sharpness.m_sharpness, {"rho": 0.3}), (moved.by_size, ascent.by_size, {})],
    ids=["rises", "curvatures"],
)
@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_copies_of_the_weights(case, ours, definition, more) -> None:
    module, way, W, (x, y) = problem(case)
    found = ours(way, W, (x, y), m=SIZES, generators=generators(len(W)), **more)
    for s, g in enumerate(generators(len(W))):
        plain = definition(cross_entropies(module), W[s], (x[s], y[s]), m=SIZES, generator=g, **more)
        for m in SIZES:
            agree(found[s][m], plain[m])


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("case", CASES)
def test_of_all_samples_it_is_the_curvature_along_the_gradient(case) -> None:
    module, way, W, (x, y) = problem(case)
    losses = cross_entropies(module)
    each = [curvature.hvp(losses, w, batch) for w, batch in zip(W, zip(x, y, strict=True), strict=True)]
    found = moved.whole(way, W, (x, y), lambda V: torch.stack([of(v) for of, v in zip(each, V, strict=True)]))
    for s, product in enumerate(each):
        agree(found[s], ascent.ascent(losses, W[s], (x[s], y[s]), product))


def test_an_m_without_two_micro_batches_is_refused() -> None:
    _, way, W, batch = problem("stack, wide")
    with pytest.raises(ValueError, match=f"m = 26: expected between 1 and n/2 = {N // 2}"):
        moved.m_sharpness(way, W, batch, m=(1, 26), rho=0.1)
