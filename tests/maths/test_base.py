"""The base optimisers against torch.optim."""

from __future__ import annotations

import pytest
import torch

from sam_dash.maths import base

CASES = [
    (lambda: base.sgd(), lambda p: torch.optim.SGD(p, lr=1.0)),
    (lambda: base.sgd(0.9), lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9)),
    (lambda: base.sgd(0.9, True, 0.01), lambda p: torch.optim.SGD(p, 1.0, 0.9, nesterov=True, weight_decay=0.01)),
    (lambda: base.adamw(weight_decay=0.05), lambda p: torch.optim.AdamW(p, lr=1.0, weight_decay=0.05)),
]


@pytest.mark.parametrize(("ours", "theirs"), CASES)
def test_ten_steps_equal_torch_optim(ours, theirs) -> None:
    torch.manual_seed(0)
    w = torch.randn(6, dtype=torch.float64)
    p = w.clone().requires_grad_()
    optimiser, (init, update) = theirs([p]), ours()
    state = init(w)
    schedule = base.cosine(0.1, 10)
    for t in range(10):
        h = torch.randn(6, dtype=torch.float64)
        p.grad = h.clone()
        optimiser.param_groups[0]["lr"] = schedule(t)
        optimiser.step()
        w, state = update(w, h, state, schedule(t))
        torch.testing.assert_close(w, p.detach(), rtol=1e-12, atol=1e-12)


def test_the_cosine_falls_from_lr_to_zero_and_the_constant_does_not() -> None:
    rate = base.cosine(0.2, 100)
    assert rate(0) == pytest.approx(0.2)
    assert rate(50) == pytest.approx(0.1)
    assert rate(100) == pytest.approx(0.0)
    assert base.constant(0.2, 100)(70) == 0.2
