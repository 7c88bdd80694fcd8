"""A recorded step is the plain step. Recorded here by running it again on its buffers, as a CUDA graph would."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils import _pytree as pytree

from benchmarks.problems import mlp, problem, spec
from sam_dash import variants
from sam_dash.maths.fast.unformed import NotFactoredError
from sam_dash.runs import fastest, steppers
from sam_dash.runs.fastest import recorded
from sam_dash.runs.graphs import Moving, NotRecordedError, Recorded, cuda_graph
from sam_dash.runs.loop import steps
from sam_dash.runs.train import train
from tests.runs.test_gpu_ready import NETWORKS, B, sizes
from tests.runs.test_train import TINY, Recorder

READ_THEIR_NUMBER = {
    "eigensam",
    "esam",
    "fsam",
    "gsam",
    "lightsam",
    "looksam",
    "ssamd",
    "ssamf",
    "unified",
    "vasso",
    "xsam",
} | {"slsam"}


def again(call):
    """The same kernels on the same memory: outputs stay where they are and are overwritten."""
    out = pytree.tree_map(torch.clone, call())

    def replay():
        for kept, new in zip(pytree.tree_leaves(out), pytree.tree_leaves(call()), strict=True):
            kept.copy_(new)

    return replay, out


def frozen(call):
    """A recording that repeats the first step whatever goes in."""
    return lambda: None, pytree.tree_map(torch.clone, call())


@pytest.fixture
def P():
    return problem(mlp(5, 7, 10), (5,), 4 * B, seeds=2)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=True))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("key", variants.REGISTRY)
def test_recorded_steps_are_the_plain_steps_bit_for_bit_on_every_path(key, network) -> None:
    make, shape = NETWORKS[network]
    P, tried = problem(make(), shape, 4 * B, seeds=2), set()
    for m in sizes(key, network):
        runs = [spec(key, m, B, lr=0.1)] * 2
        for path in ("chain", "eager", "factored", "vmapped"):
            try:
                take = getattr(steppers, path)(P, runs)
                arguments = steppers.start(P, runs[0])
                take(*arguments)
            except NotFactoredError:
                continue
            tried.add(path)
            if key in READ_THEIR_NUMBER:
                with pytest.raises(NotRecordedError, match="reads its number"):
                    Recorded(take, *arguments, again)
                continue
            replayed = steps(P, runs, Recorded(take, *arguments, again))
            for found, plain in itertools.islice(zip(replayed, steps(P, runs, take), strict=True), 6):
                assert equal(found, plain), (path, m)
    assert "vmapped" in tried


def test_another_shape_is_stepped_plainly_and_the_first_is_replayed_again(P) -> None:
    way, calls = steppers.stepper(P, [spec("sam", 2, B)] * 2), []

    def take(*arguments):
        calls.append(arguments[0])
        return way.take(*arguments)

    def once(call):
        replay, out = again(call)
        return lambda: (replay(), calls.clear()), out

    W, state, at = steppers.start(P, spec("sam", 2, B))
    replayed = Recorded(take, W, state, at, once)
    smaller = at._replace(batch=tuple(a[:, :4] for a in at.batch))
    for moment, plainly in ((at, False), (smaller, True), (at, False), (at._replace(noise=W[:, None]), True)):
        calls.clear()
        assert equal(replayed(W, state, moment), way.take(W, state, moment))
        assert bool(calls) == plainly


def test_what_a_step_has_returned_is_not_overwritten_by_the_next(P) -> None:
    way = steppers.stepper(P, [spec("rwsam", None, B)] * 2)
    W, state, at = steppers.start(P, spec("rwsam", None, B))
    replayed = Recorded(way.take, W, state, at, again)
    first = replayed(W, state, at)
    kept = pytree.tree_map(torch.clone, first)
    assert not torch.equal(replayed(2 * W, state, at)[0].h, first[0].h)
    assert equal(first, kept)


def test_full_data_are_copied_once_and_again_only_if_they_change(P, monkeypatch) -> None:
    W, state, at = steppers.start(P, spec("nsam", None, B))
    replayed = Recorded(steppers.stepper(P, [spec("nsam", None, B)] * 2).take, W, state, at, again)
    copied, copy = [], torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda a, b: (copied.append(a.shape), copy(a, b))[1])
    whole, plain = at.full[0].shape, replayed(W, state, at)
    assert whole in copied
    copied.clear()
    assert equal(replayed(W, state, at), plain)
    assert whole not in copied
    at.full[0].mul_(2)
    assert not torch.equal(replayed(W, state, at)[0].h, plain[0].h)


def decided(P, monkeypatch, capture, plain=2.0, replayed=1.0, variant="sam"):
    seconds = lambda take, _: replayed if isinstance(take, Recorded) else plain  # noqa: E731
    monkeypatch.setattr(fastest, "_seconds", seconds)
    run = spec(variant, None, B)
    way = steppers.stepper(P, [run] * 2)
    found = recorded(way, P, run, capture)
    assert found.take is way.take or isinstance(found.take, Recorded)
    return found.path, isinstance(found.take, Recorded)


def test_a_recording_is_taken_where_it_is_faster_by_a_tenth(P, monkeypatch) -> None:
    path, taken = decided(P, monkeypatch, again, plain=0.002, replayed=0.0005)
    assert taken
    assert path == "chain, CUDA graph: 0.50 ms a step, plain 2.00"
    path, taken = decided(P, monkeypatch, again, plain=0.002, replayed=0.0019)
    assert not taken
    assert path == "chain, no CUDA graph: it would take 1.90 ms a step, plain 2.00"


def test_a_recording_that_fails_or_is_wrong_is_not_taken_and_the_reason_is_said(P, monkeypatch) -> None:
    def fails(_call):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    for capture, variant, reason in (
        (fails, "sam", "RuntimeError: operation not permitted when stream is capturing"),
        (frozen, "sam", "its steps differ from plain ones"),
        (again, "looksam", "the step reads its number or the learning rate"),
        (lambda call: (lambda: None, (call(), 1.0)), "sam", "the step returns more than tensors"),
    ):
        path, taken = decided(P, monkeypatch, capture, variant=variant)
        assert not taken
        assert path.endswith(f"no CUDA graph: {reason}")


def test_steps_are_timed_as_they_are_taken(P, monkeypatch) -> None:
    """In turn, so that what changes from step to step is copied into the buffers, and what does not is not."""
    way, first = steppers.stepper(P, [spec("nsam", None, B)] * 2), steppers.start(P, spec("nsam", None, B))
    both, taken = (first, fastest._another(P, first, way.take)), []
    monkeypatch.setattr(fastest, "SECONDS", 10)
    monkeypatch.setattr(fastest, "MOST", 4)
    assert 0 < fastest._seconds(lambda *a: taken.append(a), both) < 5
    assert [a[0] is first[0] for a in taken] == [True, False, True, False]
    for a, b in zip(*([a[0], a[2].batch[0], a[2].noise] for a in both), strict=True):
        assert a is not b
    assert both[0][2].full is both[1][2].full


def test_a_number_that_moves_cannot_be_read() -> None:
    t = Moving()
    for read in (bool, int, float, round, abs, hash, lambda t: t + 1, lambda t: 1 - t, lambda t: t % 3, lambda t: 2 * t,
                 lambda t: t == 0, lambda t: t > 0, lambda t: 0.9**t, lambda t: torch.ones(2) * t,
                 lambda t: t / torch.ones(2), lambda t: max(t, 1), lambda t: t in (0, 1)):  # fmt: skip
        with pytest.raises(NotRecordedError):
            read(t)


def test_a_run_on_a_gpu_trains_as_without_graphs_and_says_that_it_used_one(monkeypatch) -> None:
    assert not fastest.on_gpu(problem(mlp(5, 10), (5,), B))
    specs = [replace(TINY, seed=s, variant="rwsam", m=None, knobs={}) for s in (0, 1)]
    plain = train(specs, Recorder())
    monkeypatch.setattr(fastest, "on_gpu", lambda _: True)
    monkeypatch.setattr(fastest, "cuda_graph", again)
    monkeypatch.setattr(fastest, "_seconds", lambda take, _: 1.0 if isinstance(take, Recorded) else 2.0)
    replayed = train(specs, Recorder())
    for a, b in zip(plain, replayed, strict=True):
        assert a.path == "chain"
        assert b.path.startswith("chain, CUDA graph")
        assert (a.weights == b.weights).all()


class Cuda:
    """Stands for torch.cuda: notes what is asked of it."""

    def __init__(self, monkeypatch, fail=""):
        self.log, self.now, self.mode = [], "default", 0
        stream = lambda name: SimpleNamespace(name=name, wait_stream=lambda s: self.log.append(f"{name} < {s.name}"))  # noqa: E731
        default, side = stream("default"), stream("side")
        for name, value in {
            "current_stream": lambda: default, "Stream": lambda: side, "stream": lambda s: nullcontext(),
            "get_sync_debug_mode": lambda: 0, "set_sync_debug_mode": lambda m: setattr(self, "mode", m),
            "CUDAGraph": lambda: SimpleNamespace(replay="replay"), "graph": self.graph,
            "set_stream": lambda s: self.log.append(f"on {s.name}"),
        }.items():  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, value, raising=False)
        self.fail = fail

    def graph(self, _graph):
        self.log.append("recording")
        return nullcontext()

    def call(self):
        self.log.append(f"run {self.mode}")
        if self.fail and self.log[-1] == self.fail:
            raise RuntimeError("called a synchronizing CUDA operation")
        return "out"


def test_a_step_is_warmed_up_beside_and_may_not_wait_for_the_gpu_before_it_is_recorded(monkeypatch) -> None:
    cuda = Cuda(monkeypatch)
    assert cuda_graph(cuda.call) == ("replay", "out")
    warm = ["side < default", "run 0", "run error", "run error", "default < side"]
    assert cuda.log == [*warm, "recording", "run 0", "on default"]


def test_a_step_that_waits_for_the_gpu_is_never_recorded_and_leaves_the_stream_as_it_was(monkeypatch) -> None:
    cuda = Cuda(monkeypatch, fail="run error")
    with pytest.raises(RuntimeError, match="synchronizing"):
        cuda_graph(cuda.call)
    assert "recording" not in cuda.log
    assert cuda.log[-1] == "on default"
    assert cuda.mode == 0
