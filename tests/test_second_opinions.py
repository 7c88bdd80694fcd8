"""Trace and top eigenvalue as curvlinops, hessian-eigenthings and PyHessian find them, beside `api.measure`."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sam_dash import api
from sam_dash.maths.loss import LOSSES

curvlinops = pytest.importorskip("curvlinops")
eigenthings = pytest.importorskip("hessian_eigenthings")


class Pooled(nn.Module):
    """A block of torch's own transformer on vectors, whose tokens are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.out = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.block(x).mean(1))


CASES = {
    "CNN": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(18, 3)), (1, 5, 5),
            "cross_entropy", nn.CrossEntropyLoss()),
    "transformer": (Pooled, (3, 4), "cross_entropy", nn.CrossEntropyLoss()),
    "regression": (lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2)), (5,), "mse", nn.MSELoss()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_four_packages_find_one_trace_and_one_top_eigenvalue(name) -> None:
    make, shape, key, theirs = CASES[name]
    torch.manual_seed(0)
    model, x = make().double().eval(), torch.randn(12, *shape).double()
    y = torch.randn(12, 2).double() if key == "mse" else torch.randint(0, 3, (12,))
    torch.testing.assert_close(LOSSES[key](model(x), y).mean(), theirs(model(x), y))
    ours = api.measure(model, x, y, ("tr_H", "lam_max", "tr_H_pyhessian", "lam_max_pyhessian"), loss=key)
    with sdpa_kernel(SDPBackend.MATH):
        curv = curvlinops.HessianLinearOperator(model, theirs, list(model.parameters()), [(x, y)])
        H = curv @ torch.eye(curv.shape[0]).double()
        eigen = eigenthings.HessianOperator(model, [(x, y)], eigenthings.supervised_loss(theirs))
        top = eigenthings.lanczos(eigen, k=1, which="LA", max_iter=40, seed=0)
        trace = eigenthings.trace(eigen, num_matvecs=60, method="hutchinson", seed=0)
    values = torch.linalg.eigvalsh(H)
    assert values[-1] > -values[0], "PyHessian's is the largest by its size"
    assert float(top.eigenvalues[0]) == pytest.approx(float(values[-1]), rel=1e-3)
    for key in ("lam_max", "lam_max_pyhessian"):
        assert ours[key].value == pytest.approx(float(values[-1]), rel=2e-3), key
    assert ours["tr_H_pyhessian"].budget == 128, "a negative running mean must not end it (the CNN has one)"
    assert abs(trace.estimate - float(H.trace())) < 4 * trace.stderr
    for key in ("tr_H", "tr_H_pyhessian"):
        assert 0 < ours[key].stderr < 0.3 * abs(float(H.trace()))
        assert abs(ours[key].value - float(H.trace())) < 4 * ours[key].stderr, key
