"""Samples of any structure, in memory or streamed: the same numbers either way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sam_dash.maths import ascent, curvature, m_sharpness, noise
from sam_dash.maths.flat import Layout, flatten, losses_fn
from sam_dash.maths.oracle import mean_grad, per_sample_grads
from sam_dash.maths.samples import Stream, chunks, count, cut, grouped, over, samples, shuffled
from tests.helpers import oracle

TREE = ({"a": torch.arange(7.0), "k": 3, "s": torch.tensor(2.0)}, [torch.arange(14).view(7, 2)])


def test_a_tree_is_counted_cut_and_grouped_by_its_tensors_and_the_rest_goes_along() -> None:
    assert samples(TREE) == count(TREE) == 7
    parts = cut(TREE, 3)
    assert [samples(part) for part in parts] == [3, 3, 1]
    assert all(part[0]["k"] == 3 and float(part[0]["s"]) == 2 for part in parts)
    assert parts[1][0]["a"].tolist() == [3, 4, 5]
    groups = grouped(TREE, 3)
    assert groups[0]["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert groups[1][0].shape == (2, 3, 2)
    mixed = shuffled(TREE, torch.Generator().manual_seed(0))
    assert mixed[1][0][:, 0].tolist() == (2 * mixed[0]["a"]).tolist() != TREE[1][0][:, 0].tolist()
    with pytest.raises(ValueError, match="same number of samples; found 2, 3"):
        samples((torch.zeros(2), torch.zeros(3)))


def test_a_function_without_a_batching_rule_goes_in_a_loop_and_what_is_wrong_is_said() -> None:
    """A branch on a number is what vmap cannot; the result is the same as where it can."""

    def branching(group):
        return group.sum() if float(group[0]) > 0 else -group.sum()

    x = torch.tensor([[1.0, 2.0], [-3.0, 4.0]])
    assert over(branching, x).tolist() == [3, -1]
    with pytest.raises(ValueError, match="wrong"):
        over(lambda _: (_ for _ in ()).throw(ValueError("wrong")), x)


def streamed(batch, size: int) -> Stream:
    return Stream(lambda: iter(cut(batch, size)), [samples(part) for part in cut(batch, size)])


@pytest.mark.parametrize("size", [12, 25])
def test_a_streams_sums_are_those_of_all_its_samples(size) -> None:
    """Exactly: gradient, H v, tr(GGN), tr(V), ||G||^2; and m-sharpness of micro-batches that no batch cuts."""
    L, w = oracle(60)
    f, whole, stream = L.losses_fn, L.batch, streamed(L.batch, size)
    torch.testing.assert_close(mean_grad(f, w, stream), mean_grad(f, w, whole))
    v = torch.randn(2, len(w), dtype=w.dtype)
    torch.testing.assert_close(curvature.hvp(f, w, stream)(v), curvature.hvp(f, w, whole)(v))
    sizes = L.layout.sizes()
    for found, true in zip(noise.noise(f, w, stream, sizes)[1:3], noise.noise(f, w, whole, sizes)[1:3], strict=True):
        for a, b in zip(*((one if isinstance(one, list) else [one]) for one in (found, true)), strict=True):
            assert (a.value, a.stderr) == pytest.approx((b.value, b.stderr), rel=1e-9)
    groups = [part for part in chunks(stream, 60) for part in cut(part, 5) if samples(part) == 5]
    found = m_sharpness.m_sharpness(f, w, stream, m=(5,), rho=0.1)[5]
    moved = [w + 0.1 * g / g.norm() for g in (mean_grad(f, w, one) for one in groups)]
    by_hand = [f(at, one).mean() - f(w, one).mean() for at, one in zip(moved, groups, strict=True)]
    assert found.budget == len(by_hand)
    assert found.value == pytest.approx(float(torch.stack(by_hand).mean()), rel=1e-9)


def test_a_streams_groups_lie_within_its_batches_and_an_m_that_none_holds_is_refused() -> None:
    L, w = oracle(60)
    stream = streamed(L.batch, 25)  # 25, 25, 10
    assert noise.tr_V(L.losses_fn, w, stream, m=(10,))[10].budget == 5
    assert ascent.by_size(L.losses_fn, w, stream, m=(25,))[25].budget == 2
    with pytest.raises(ValueError, match="m = 26: expected between 1 and that of the largest batch = 25"):
        ascent.by_size(L.losses_fn, w, stream, m=(26,))
    order = shuffled(stream, torch.Generator().manual_seed(0))
    first, again = ([y.tolist() for _, y in order.passes()] for _ in range(2))
    assert first == again != [y.tolist() for _, y in stream.passes()]
    assert [sorted(y) for y in first] == [sorted(y.tolist()) for _, y in stream.passes()]


def test_a_large_batch_of_a_stream_beside_a_small_one_is_not_cut() -> None:
    L, w = oracle(20)
    sizes = (8, 8, 4)
    parts = [tuple(a.split(sizes)[i] for a in L.batch) for i in range(3)]
    stream = Stream(lambda: iter(parts), sizes)
    found = noise.of_groups(lambda group: L.losses_fn(w, group).mean(), w, stream, (8, 4), None)
    each = [L.losses_fn(w, part).mean() for part in parts]
    torch.testing.assert_close(found[8], torch.stack(each[:2]))
    halves = [L.losses_fn(w, part).mean() for whole in parts for part in cut(whole, 4)]
    torch.testing.assert_close(found[4], torch.stack(halves))


def test_recurrent_layers_have_per_sample_gradients_too() -> None:
    """torch has no batching rule for GRU: one sample after another, as the mean of their losses tells."""

    class Last(nn.GRU):
        def forward(self, x):
            return super().forward(x)[0][:, -1]

    torch.manual_seed(0)
    model = Last(3, 4, batch_first=True).double()
    x, y = torch.randn(5, 6, 3).double(), torch.randint(0, 4, (5,))
    w, f = flatten(model), losses_fn(model)
    rows = per_sample_grads(f, w, (x, y))
    for row, one in zip(rows, cut((x, y), 1), strict=True):
        torch.testing.assert_close(row, mean_grad(f, w, one))
    assert Layout.of(model).d == rows.shape[1]
