"""The rules by which a direction is taken, on both sides of their edges; and what is watched but is no plain loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from sam_dash.audit import audit
from sam_dash.audit.directions import CLEAR, SLACK, Direction, apart, fit, floor
from sam_dash.audit.report import AMBER, GREEN, RED, Line, Report
from sam_dash.maths.flat import Layout
from sam_dash.optim import SharpnessAware

D = 400


def at_angle(v: torch.Tensor, r: float, seed: int) -> torch.Tensor:
    """A unit vector with 1 - cos = r to v (d,)."""
    z = torch.randn(len(v), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    v = v / v.norm()
    z -= (z @ v) * v
    return math.cos(t := math.acos(1 - r)) * v + math.sin(t) * z / z.norm()


@pytest.fixture
def line():
    torch.manual_seed(0)
    model = nn.Linear(D - 1, 1)
    w = torch.cat([p.detach().flatten() for p in model.parameters()])
    return Layout.of(model), w, torch.randn(D, dtype=torch.float64)


def candidates(*vectors: torch.Tensor) -> list[Direction]:
    return [Direction(f"set {i}", i + 1, (0,), v) for i, v in enumerate(vectors)]


def test_the_distance_of_directions_is_exact_where_a_difference_of_cosines_would_be_rounding() -> None:
    v = torch.randn(D, dtype=torch.float64)
    for r in (1e-14, 1e-9, 1e-3, 0.3):
        assert apart(v, 3 * at_angle(v, max(r, 1e-16), 1)) == pytest.approx(r, rel=0.05 if r < 1e-12 else 1e-3)
    assert apart(v, -2 * v) < 1e-30
    assert apart(v, torch.zeros(D)) == math.inf


@pytest.mark.parametrize(
    ("dtype", "rho"), [(torch.float32, 0.5), (torch.float32, 0.005), (torch.float16, 0.05), (torch.bfloat16, 0.5)]
)
def test_the_floor_is_what_rounding_does_to_a_displacement(dtype, rho) -> None:
    torch.manual_seed(0)
    w = (torch.randn(20_000) / 5).to(dtype)
    eps = rho * torch.randn(20_000, dtype=torch.float64) / 20_000**0.5
    seen = (w.double() + eps).to(dtype).double() - w.double()
    found = apart(seen, eps)
    assert found == pytest.approx(floor(w, eps), rel=0.25)


def test_a_candidate_fits_under_ten_floors_and_is_taken_where_the_next_is_thirty_times_further(line) -> None:
    layout, w, v = line
    low = floor(w, v)
    for factor, fits in ((9, True), (11, False)):
        r = factor * low + (SLACK if fits else SLACK * 1.2)
        found = fit(at_angle(v, r, 1) * v.norm(), w, candidates(v), {}, layout)
        assert (found.direction is not None) is fits
    eps = at_angle(v, 1e-13, 1) * v.norm()
    for factor, clear in ((CLEAR * 0.8, False), (CLEAR * 1.3, True)):
        near = at_angle(eps, factor * max(1e-13, low), 2)
        assert fit(eps, w, candidates(v, near), {}, layout).clear is clear


def test_of_one_vector_under_two_names_the_first_is_named_and_none_is_a_rival(line) -> None:
    layout, w, v = line
    found = fit(2 * v, w, candidates(v, v * (1 + 1e-15)), {}, layout)
    assert found.direction is not None
    assert (found.direction.of, found.clear) == ("set 0", True)


def test_a_second_vector_is_named_only_where_no_candidate_fits_alone(line) -> None:
    layout, w, v = line
    wd = w.double()
    alone, both = (fit(e, w, candidates(v), {"w": wd}, layout) for e in (v, v + 0.3 * wd))
    assert (alone.beside, both.beside) == ("", "w")
    assert both.share == pytest.approx(0.3)
    assert fit(wd, w, candidates(v), {}, layout).direction is None


def test_where_weights_are_too_coarse_a_set_is_not_told_and_both_are_named() -> None:
    """bfloat16 at a small radius: the displacement that is seen is mostly rounding."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 3)).to(torch.bfloat16)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(16, 20).bfloat16(), torch.randint(0, 3, (16,))

    def step(rho: float) -> None:
        model.zero_grad()
        cross_entropy(model(x).float(), y).backward()
        kept = [p.detach().clone() for p in model.parameters()]
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]).float().norm()  # type: ignore[union-attr]
        with torch.no_grad():
            for p in model.parameters():
                p.add_(rho * p.grad / norm)
        model.zero_grad()
        cross_entropy(model(x).float(), y).backward()
        with torch.no_grad():
            for p, value in zip(model.parameters(), kept, strict=True):
                p.copy_(value)
        optimiser.step()

    lights = {}
    for rho in (0.001, 2.0):
        with audit(model, optimiser) as a:
            step(rho)
        lights[rho] = a.report().line("m").light, a.report().m
    assert lights[0.001] == (AMBER, None)
    assert lights[2.0] == (GREEN, 16)


class Named(nn.Module):
    """Keyword inputs, a dict of outputs, the loss computed inside, as transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 8), nn.Linear(8, 7)
        self.unused = nn.Linear(2, 2)

    def forward(self, *, tokens: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        out = self.head(self.embed(tokens))
        return {"loss": cross_entropy(out.flatten(0, 1), labels.flatten()), "logits": out}


def test_a_loss_inside_the_model_parameters_without_gradient_and_frozen_ones_are_no_hindrance() -> None:
    torch.manual_seed(0)
    model = Named()
    model.embed.weight.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=0.01)
    tokens = torch.randint(0, 7, (6, 5))

    def step() -> None:
        for at in ("clean", "perturbed"):
            optimiser.zero_grad()
            model(tokens=tokens, labels=tokens)["loss"].backward()
            if at == "clean":
                kept = [p.detach().clone() for p in trained]
                norm = torch.cat([p.grad.flatten() for p in trained if p.grad is not None]).norm()
                with torch.no_grad():
                    for p in trained:
                        if p.grad is not None:
                            p.add_(0.1 * p.grad / norm)
        with torch.no_grad():
            for p, value in zip(trained, kept, strict=True):
                p.copy_(value)
        optimiser.step()

    with audit(model, optimiser) as a:
        step()
        step()
    report = a.report(m=6, rho=0.1)
    assert (report.m, report.light) == (6, GREEN), str(report)
    assert report.rho == pytest.approx([0.1], rel=1e-4)


def test_other_variants_of_ours_are_not_replayed_and_say_so() -> None:
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 2), torch.randn(8, 3), torch.randn(8, 2)
    for variant, told in (("usam", 2), ("asam", None)):
        optimiser = SharpnessAware(model, variant, lr=0.1, m=2, loss="mse")
        with audit(model, optimiser) as a:
            optimiser.step(lambda: (x, y))
        report = a.report()
        assert report.m == told, str(report)
        assert "the optimiser says m = 2" in report.line("m").found
        assert report.line("m").light == (GREEN if told else AMBER)


def test_nothing_is_left_on_the_model_and_an_error_within_passes_through() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(ZeroDivisionError), audit(model):
        raise ZeroDivisionError
    assert not {**model._forward_hooks, **model._forward_pre_hooks}
    mse_loss(model(torch.ones(2, 3)), torch.ones(2, 2)).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    with audit(model) as a:
        pass
    with pytest.raises(ValueError, match="no step of a torch optimiser"):
        a.report()


def test_the_worst_light_of_its_lines_is_a_reports() -> None:
    def report(*lights: str) -> Report:
        return Report(1, (0.1,), None, 0.0, 1, 1, tuple(Line(str(i), "", light) for i, light in enumerate(lights)))

    assert report(GREEN, GREEN).light == GREEN
    assert report(GREEN, AMBER).light == AMBER
    assert report(RED, AMBER, GREEN).light == RED
