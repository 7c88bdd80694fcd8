"""Curvature against dense Hessians, closed forms and PyHessian."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from sam_dash.maths import curvature, lanczos, second_opinion
from sam_dash.maths.flat import Layout, flatten, logits, losses_fn, piecewise_linear
from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.maths.oracle import mean_grad
from sam_dash.maths.samples import Stream, cut
from tests.helpers import mlp


@pytest.fixture
def problem():
    """A tanh network of 43 parameters, 30 samples, and its dense Hessian."""
    torch.manual_seed(0)
    return make(mlp(4, 5, 3, activation=nn.Tanh))


def make(module, n=30):
    w, x, y = flatten(module), torch.randn(n, 4).double(), torch.randint(0, 3, (n,))
    losses = losses_fn(module)
    H = torch.func.hessian(lambda v: losses(v, (x, y)).mean())(w)
    return module, losses, w, (x, y), H


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_no_residual_is_below_the_rounding_of_the_products() -> None:
    """Of a full run beta is rounding, or less by chance: the bound would be a claim of more digits than there are."""
    D = torch.diag(torch.tensor([1.0, 2.0, 300.0]))
    found = lanczos.top_eigenvalues(lambda V: V @ D, torch.zeros(3), generator(), k=3)
    assert all(e.stderr >= 300 * torch.finfo(torch.float32).eps for e in found)
    assert all(e.stderr < 1e-3 for e in found)
    assert [e.value for e in found] == pytest.approx([300, 2, 1], rel=1e-4)


@pytest.mark.parametrize("chunk", [1024, 7])
def test_hessian_vector_products_equal_the_dense_hessian(problem, chunk) -> None:
    _, losses, w, batch, H = problem
    V = torch.randn(3, len(w)).double()
    torch.testing.assert_close(curvature.hvp(losses, w, batch, chunk=chunk)(V), V @ H)


def test_a_single_vector_is_not_vectorised_over_and_two_are(problem, monkeypatch) -> None:
    _, losses, w, batch, H = problem
    V, sizes = torch.randn(2, len(w)).double(), []
    monkeypatch.setattr(curvature, "vmap", lambda f: lambda V: (sizes.append(len(V)), torch.func.vmap(f)(V))[1])
    product = curvature.hvp(losses, w, batch)
    torch.testing.assert_close(torch.cat([product(V[:1]), product(V)]), torch.cat([V[:1], V]) @ H)
    assert sizes == [2]


def test_definitions_take_1024_samples_at_once() -> None:
    taken: list[int] = []

    def outputs(w: Tensor, x: Tensor) -> Tensor:
        taken.append(len(x))
        return (x @ w)[:, None]

    w, batch = torch.randn(2), (torch.randn(1025, 2), torch.zeros(1025))

    def losses(w: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        return outputs(w, batch[0]).square().sum(1)

    mean_grad(losses, w, batch)
    curvature.hvp(losses, w, batch)(w[None])
    assert [n for n in taken if n > 1] == [1024] * (len(taken) // 2)


def test_the_trace_of_a_diagonal_hessian_is_exact_from_any_probe() -> None:
    """z^T D z = tr D for signs z: every probe gives 1 + 2 + 3, and the stated error is 0."""
    D = torch.diag(torch.tensor([1.0, 2.0, 3.0]).double())
    estimate = curvature.trace(lambda V: V @ D, torch.zeros(3).double(), generator(), probes=8)
    assert estimate.value == pytest.approx(6)
    assert estimate.stderr == pytest.approx(0, abs=1e-12)
    assert estimate.budget == 8


def test_the_error_of_the_trace_covers_the_dense_trace_at_its_rate(problem) -> None:
    """Of 400 intervals of +-1.96 SE, 95 % cover in expectation; fewer than 91.5 % has a chance below 1 in 1000."""
    _, losses, w, batch, H = problem
    product, truth = curvature.hvp(losses, w, batch), float(H.trace())
    found = [curvature.trace(product, w, generator(s), probes=64) for s in range(400)]
    z = torch.tensor([(e.value - truth) / e.stderr for e in found])
    assert float((z.abs() < 1.96).double().mean()) > 0.915
    assert abs(float(z.mean())) < 4 / 400**0.5


def test_the_exact_trace_equals_the_dense_one_for_a_relu_network() -> None:
    torch.manual_seed(1)
    module, _, w, batch, H = make(mlp(4, 6, 5, 3))
    assert piecewise_linear(module)
    estimate = curvature.ggn_trace(CROSS_ENTROPY, logits(module), w, batch)
    assert estimate.value == pytest.approx(float(H.trace()), rel=1e-10)
    assert estimate.stderr == 0


def test_the_trace_split_into_ggn_and_rest_is_unbiased_and_its_error_smaller(problem, monkeypatch) -> None:
    """Of 60 intervals of +-t SE at 8 probes a part, at least 85 % cover the dense trace; so of its layers."""
    monkeypatch.setattr(curvature, "PARTS", 4)
    module, losses, w, batch, H = problem
    sizes = list(Layout.of(module).sizes().values())
    blocks = torch.stack([part.sum() for part in H.diagonal().split(sizes)])
    split = CROSS_ENTROPY, logits(module), w, batch
    ggn, whole = curvature.ggn_trace_by_layer(*split, sizes), curvature.ggn_trace(*split)
    layers = [curvature.split_trace_by_layer(*split, ggn, generator(s), sizes, probes=8) for s in range(2)]
    each = [[curvature.split_trace(*split, whole, generator(s), probes=8)] for s in range(60)]
    for row, parts in zip(each, layers, strict=False):
        assert row[0].value == pytest.approx(sum(e.value for e in parts))
        for e, truth in zip(parts, blocks.tolist(), strict=True):
            assert abs(e.value - truth) < 3 * e.stderr
    z = torch.tensor([(row[0].value - float(H.trace())) / row[0].stderr for row in each])
    within = [abs(float(v)) < stats.t.ppf(0.975, row[0].dof) for v, row in zip(z, each, strict=True)]
    assert sum(within) >= 0.85 * len(z)
    assert abs(float(z.mean())) < 4 / len(z) ** 0.5
    assert 0.6 < float(z.square().mean()) < 1.6
    error = float(torch.tensor([row[0].stderr for row in each]).mean())
    product = curvature.hvp(losses, w, batch)
    plain = torch.tensor([curvature.trace(product, w, generator(s), probes=8).stderr for s in range(50)])
    assert error < 0.9 * float(plain.mean())


def test_every_part_has_probes_of_its_own_and_each_pass_is_told(problem, monkeypatch) -> None:
    module, _, w, batch, _ = problem
    n, split = len(batch[1]), (CROSS_ENTROPY, logits(module), w)
    ggn = curvature.ggn_trace(*split, batch)
    monkeypatch.setattr(curvature, "PARTS", 8)
    drawn: list[Tensor] = []
    plain = curvature.rademacher
    monkeypatch.setattr(curvature, "rademacher", lambda *args: (drawn.append(plain(*args)), drawn[-1])[1])
    for probes, chunk, parts in ((16, 1024, 8), (9, 1024, 8), (2, 1, n), (5, 7, 8), (5, 3, 10)):
        told: list[int] = []
        drawn.clear()
        found = curvature.split_trace(
            *split, batch, ggn, generator(), probes=probes, chunk=chunk, done=lambda told=told: told.append(1)
        )
        assert (found.budget, len(told)) == (probes, probes)
        assert len(torch.cat(drawn).unique(dim=0)) == probes * parts
        assert found.method.endswith(f"for the rest, {parts} parts")
    stream = Stream(lambda: iter(cut(batch, 7)), [len(part[1]) for part in cut(batch, 7)])
    streamed = curvature.split_trace(*split, stream, ggn, generator(), probes=64)
    assert streamed.method.endswith("9 parts"), "two of each of four batches of 7, and of one of 2, one"
    assert abs(streamed.value - found.value) < 5 * math.hypot(streamed.stderr, found.stderr)
    with pytest.raises(ValueError, match="at least 2"):
        curvature.split_trace(*split, batch, ggn, generator(), probes=1)


def test_the_ggn_trace_is_not_the_hessian_trace_for_tanh(problem) -> None:
    module, _, w, batch, H = problem
    assert not piecewise_linear(module)
    ggn = curvature.ggn_trace(CROSS_ENTROPY, logits(module), w, batch).value
    assert abs(ggn - float(H.trace())) > 0.001 * ggn


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), True),
        (nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(2, 4), nn.Linear(4, 2)), False),
        (nn.Sequential(*[nn.Linear(4, 4)] * 2), False),
    ],
)
def test_piecewise_linear_networks_are_recognised(module, expected) -> None:
    assert piecewise_linear(module) is expected


def test_lanczos_finds_the_top_eigenvalues_of_the_dense_hessian(problem) -> None:
    _, losses, w, batch, H = problem
    truth = torch.linalg.eigvalsh(H).flip(0)
    found = lanczos.top_eigenvalues(curvature.hvp(losses, w, batch), w, generator(), k=3, tol=1e-8)
    assert [e.value for e in found] == pytest.approx(truth[:3].tolist(), rel=1e-8)
    assert all(e.converged for e in found)


@pytest.mark.parametrize("iterations", [3, 6, 12])
def test_the_residual_bounds_the_distance_to_the_nearest_eigenvalue(problem, iterations) -> None:
    _, losses, w, batch, H = problem
    truth, product = torch.linalg.eigvalsh(H), curvature.hvp(losses, w, batch)
    for seed in range(20):
        e = lanczos.top_eigenvalues(product, w, generator(seed), tol=0, iterations=iterations)[0]
        assert float((truth - e.value).abs().min()) <= e.stderr + 1e-12
        assert not e.converged or e.stderr < 1e-9


def test_a_lanczos_run_of_bounded_memory_finds_what_one_that_keeps_all_vectors_finds(monkeypatch) -> None:
    """26 vectors are kept of a run that takes more than twice as many; its residuals are still bounds."""
    Q, _ = torch.linalg.qr(torch.randn(300, 300, generator=generator(), dtype=torch.float64))
    values = torch.linspace(1, 0, 300, dtype=torch.float64) ** 3
    product, kept = lambda V: V @ (Q * values) @ Q.T, []
    monkeypatch.setattr(lanczos, "ELEMENTS", 1)
    advance = lanczos.Lanczos.advance
    monkeypatch.setattr(
        lanczos.Lanczos,
        "advance",
        lambda self, r: (kept.append((self.Q.shape[1], self.room.shape[1])), advance(self, r)),
    )
    found = lanczos.top_eigenvalues(product, Q[0], generator(), k=3, tol=1e-5, iterations=300)
    assert [vectors for vectors, _ in kept][:26] == [*range(1, 26), 3 + 5 + 1], "and the one that comes"
    assert max(vectors for vectors, _ in kept) == 25
    assert max(room for _, room in kept) <= 2 * 26
    assert len(kept) == found[0].budget > 2 * 26
    for e, true in zip(found, values, strict=False):
        assert e.converged
        assert abs(e.value - float(true)) <= e.stderr + 1e-12
        assert e.value == pytest.approx(float(true), rel=1e-6)


def test_runs_side_by_side_end_one_by_one_also_after_a_restart(monkeypatch) -> None:
    """22 vectors are kept of each, 6 of them in a restart: the runs take none, one and two of these."""
    monkeypatch.setattr(lanczos, "ELEMENTS", 1)
    spectra = torch.linspace(1, 0, 300, dtype=torch.float64) ** torch.tensor([[200.0], [8.0], [3.0]])
    starts = torch.randn(3, 300, generator=generator(), dtype=torch.float64)
    products = [lambda V, values=values: V * values for values in spectra]
    together = lanczos.each_top(lanczos.OneByOne(products), starts, tol=1e-6, iterations=300)
    for found, product, start in zip(together, products, starts, strict=True):
        assert found == lanczos.each_top(lanczos.OneByOne([product]), start[None], tol=1e-6, iterations=300)[0]
        assert found[0].value == pytest.approx(1.0, rel=1e-6)
    steps = [found[0].budget for found in together]
    assert steps[0] < 22 < steps[1] < 2 * 22 - 6 < steps[2]


def test_an_unfinished_lanczos_says_so(problem) -> None:
    _, losses, w, batch, _ = problem
    e = lanczos.top_eigenvalues(curvature.hvp(losses, w, batch), w, generator(), tol=1e-8, iterations=3)[0]
    assert not e.converged
    assert e.budget == 3
    assert e.residual > 1e-8


def test_the_density_of_a_full_lanczos_run_is_the_smoothed_spectrum_within_its_error(problem) -> None:
    """b = 200 starts of d steps: the quadrature is exact, only the starts are random."""
    _, losses, w, batch, H = problem
    eigenvalues, width = torch.linalg.eigvalsh(H), 0.05
    at = torch.linspace(-0.1, float(eigenvalues[-1]) + 0.1, 30).double()
    truth = torch.exp(-((at[:, None] - eigenvalues) ** 2) / (2 * width**2)).sum(1) / (width * (2 * torch.pi) ** 0.5)
    product = curvature.hvp(losses, w, batch)
    starts = curvature.gaussian(200, w, generator())
    found = lanczos.lanczos(product, starts, iterations=len(w))
    density, error = found.density(at, width)
    inside = (density - truth / len(w)).abs() < 4 * error + 1e-6
    assert bool(inside.all())
    assert float(error.max()) < 0.2 * float(density.max())
    torch.testing.assert_close(found.weights.sum(1), torch.ones(200).double())


def test_one_start_has_a_density_without_an_error(problem) -> None:
    _, losses, w, batch, _ = problem
    found = lanczos.lanczos(curvature.hvp(losses, w, batch), curvature.gaussian(1, w, generator()), iterations=5)
    _, error = found.density(torch.zeros(2).double(), 0.1)
    assert bool(error.isnan().all())


def test_starts_in_lock_step_equal_starts_one_by_one(problem) -> None:
    _, losses, w, batch, _ = problem
    product, starts = curvature.hvp(losses, w, batch), curvature.gaussian(3, w, generator())
    together = lanczos.lanczos(product, starts, iterations=8)
    for i in range(3):
        alone = lanczos.lanczos(product, starts[i : i + 1], iterations=8)
        torch.testing.assert_close(together.nodes[i], alone.nodes[0])
        torch.testing.assert_close(together.weights[i], alone.weights[0])


def test_logistic_regression_has_its_closed_form() -> None:
    """H = mean_i (diag p - p p^T) kron (x x^T): tr H = mean_i (1 - ||p_i||^2) ||x_i||^2."""
    torch.manual_seed(2)
    module = nn.Linear(4, 3, bias=False).double()
    _, _, w, (x, y), _ = make(module)
    p = (x @ module.weight.detach().T).softmax(1)
    truth = float(((1 - p.square().sum(1)) * x.square().sum(1)).mean())
    assert curvature.ggn_trace(CROSS_ENTROPY, logits(module), w, (x, y)).value == pytest.approx(truth, rel=1e-12)


def test_pyhessian_agrees_within_its_error(problem) -> None:
    module, _, w, batch, H = problem
    trace = second_opinion.trace(module, CROSS_ENTROPY, w, batch, probes=400)
    assert abs(trace.value - float(H.trace())) < 4 * trace.stderr
    assert trace.budget == 400
    top = second_opinion.top_eigenvalue(module, CROSS_ENTROPY, w, batch, iterations=300)
    truth = torch.linalg.eigvalsh(H)
    assert float((truth - top.value).abs().min()) <= top.stderr + 1e-9
    assert top.value == pytest.approx(float(truth[truth.abs().argmax()]), rel=1e-3)


def test_pyhessian_does_not_touch_the_model_or_the_global_generator(problem) -> None:
    module, _, w, batch, _ = problem
    before, state = flatten(module), torch.random.get_rng_state()
    second_opinion.trace(module, CROSS_ENTROPY, w + 1, batch, probes=3)
    assert torch.equal(flatten(module), before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in module.parameters())


def test_pyhessian_density_is_refused_with_the_reason() -> None:
    with pytest.raises(NotImplementedError, match=r"torch\.eig"):
        second_opinion.density()


@pytest.mark.parametrize(("dtype", "passes", "fails"), [(torch.float64, 1e-8, 1e-5), (torch.float32, 1e-5, 1e-2)])
def test_products_that_are_not_symmetric_are_refused_and_rounding_is_not(dtype, passes, fails) -> None:
    """A symmetric matrix, plus so much of an antisymmetric one of the same norm; twenty draws of u and v each."""
    torch.manual_seed(0)
    A = torch.randn(40, 40).double()
    S, K = A + A.T, A - A.T
    like = torch.zeros(40, dtype=dtype)
    refused = []
    for share in (0.0, passes, fails):
        H = (S + share * K).to(dtype)
        count = 0
        for seed in range(20):
            try:
                curvature.check_symmetric(lambda V, H=H: V @ H.T, like, generator(seed))
            except ValueError:
                count += 1
        refused.append(count)
    assert refused[:2] == [0, 0]
    assert refused[2] >= 17  # 2 share |u . Kv| / ||Kv|| is below the tolerance once in twenty


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-3), (torch.bfloat16, 0.1)])
def test_an_asymmetry_is_refused_above_its_share_of_the_larger_of_two_products(dtype, tolerance) -> None:
    torch.manual_seed(0)
    A = torch.randn(40, 40).double()
    S, K = A + A.T, A - A.T
    u, v = (a.double() for a in curvature.gaussian(2, torch.zeros(40, dtype=dtype), generator()))
    asked: list[Tensor] = []

    def product(V: Tensor) -> Tensor:
        asked.append(V)
        return (V.double() @ H.T).to(V)

    def larger(H: Tensor) -> float:
        return max(float((H @ u).norm()), float((H @ v).norm()))

    for share in (0.8, 1.25):
        H = S + share * tolerance * larger(S) / (2 * float((u @ K @ v).abs())) * K
        found = float((u @ H @ v - v @ H @ u).abs()) / larger(H) / tolerance
        assert 0.05 < abs(found - 1) < 0.5
        if found < 1:
            curvature.check_symmetric(product, u.to(dtype), generator())
        else:
            with pytest.raises(ValueError, match="not symmetric"):
                curvature.check_symmetric(product, u.to(dtype), generator())
    assert len(asked) == 4


def test_the_products_of_a_hessian_of_zeros_are_symmetric() -> None:
    assert curvature.check_symmetric(torch.zeros_like, torch.zeros(4), generator()) is None
