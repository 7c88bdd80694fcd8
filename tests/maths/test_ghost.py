"""Noise and tr(GGN) from ghost norms against their definitions, in float64."""

from __future__ import annotations

import pytest
import torch

from sam_dash.maths import curvature, ghost, noise
from sam_dash.maths.flat import Layout, cross_entropies, logits
from sam_dash.maths.taps import Taps
from tests.maths.test_factored import NETWORKS, problem


def sample(name: str, n: int = 50):
    module, w, _, _ = problem(name)
    return module, w, (torch.randn(n, *NETWORKS[name][1]).double(), torch.randint(0, 3, (n,)))


@pytest.mark.parametrize("small", [False, True], ids=["one piece", "pieces"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_noise_is_that_of_per_sample_gradients(name, small, monkeypatch) -> None:
    module, w, batch = sample(name)
    if small:
        monkeypatch.setattr(ghost, "ELEMENTS", 1)
    sizes = (1, 2, 3, 12)
    plain, fast = (
        f(a, w, batch, m=sizes, generator=torch.Generator().manual_seed(0))
        for f, a in ((noise.tr_V, cross_entropies(module)), (ghost.tr_V, Taps(module)))
    )
    for m in sizes:
        assert fast[m].value == pytest.approx(plain[m].value, rel=1e-9)
        assert fast[m].stderr == pytest.approx(plain[m].stderr, rel=0.05)  # theirs is centred on each m's own mean
        assert (fast[m].budget, fast[m].method) == (plain[m].budget, plain[m].method)


@pytest.mark.parametrize("small", [False, True], ids=["one piece", "pieces"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layers_noise_is_that_of_per_sample_gradients(name, small, monkeypatch) -> None:
    module, w, batch = sample(name)
    if small:
        monkeypatch.setattr(ghost, "ELEMENTS", 1)
        monkeypatch.setattr(noise, "ELEMENTS", 7 * len(w))
    sizes = Layout.of(module).sizes()
    found = ghost.tr_V_and_layers(Taps(module), w, batch, m=(2, 1), generator=torch.Generator().manual_seed(0))
    plain = noise.by_layer(cross_entropies(module), w, batch, sizes)
    assert list(found.by_layer) == list(plain) == [n for n, m in module.named_modules() if m._parameters]
    for layer, fast in found.by_layer.items():
        assert fast.value == pytest.approx(plain[layer].value, rel=1e-8, abs=1e-12)
        assert fast.stderr == pytest.approx(plain[layer].stderr, rel=1e-6, abs=1e-12)
        assert (fast.budget, fast.method) == (plain[layer].budget, plain[layer].method)
    assert sum(e.value for e in found.by_layer.values()) == pytest.approx(found.by_m[1].value, rel=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_trace_of_the_ggn_is_that_of_per_sample_gradients(name, monkeypatch) -> None:
    module, w, batch = sample(name)
    plain = curvature.ggn_trace(cross_entropies(module), logits(module), w, batch)
    assert ghost.ggn_trace(Taps(module), w, batch).value == pytest.approx(plain.value, rel=1e-10)
    monkeypatch.setattr(ghost, "ELEMENTS", 1)
    assert ghost.ggn_trace(Taps(module), w, batch).value == pytest.approx(plain.value, rel=1e-10)


def test_an_m_without_two_groups_is_refused() -> None:
    module, w, batch = sample("wide mlp")
    with pytest.raises(ValueError, match="m = 26: expected between 1 and n/2 = 25"):
        ghost.tr_V(Taps(module), w, batch, m=(26,))
