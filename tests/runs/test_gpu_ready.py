"""What a GPU would need of the code, held on machines without one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.problems import mlp, problem, spec
from sam_dash import variants
from sam_dash.maths.fast.unformed import NotFactoredError
from sam_dash.maths.flat import logits, losses_fn
from sam_dash.runs import steppers
from sam_dash.runs.loop import steps

B = 8


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of several devices, and counts copies from one to another."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[torch.Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor) and a.ndim]
        devices = {a.device.type for a in given}
        assert len(devices) <= 1, f"{func} of tensors on {devices}"
        made = [a for a in pytree.tree_leaves(out) if isinstance(a, torch.Tensor) and a.ndim]
        self.moved += [a for a in made if devices and a.device.type not in devices]
        return out


def convolutional() -> nn.Module:
    layers = nn.Conv2d(1, 4, 3, 1, 1), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(64, 10))


def elsewhere(make, shape, n=2 * B):
    """A problem whose tensors are on a device without numbers: reading one, as `if` and `float` do, is an error."""
    P = problem(make(), shape, n, seeds=2)
    module = make().to("meta")
    moved = {name: getattr(P, name).to("meta") for name in ("w0", "x", "rows", "y", "y_clean")}
    return replace(P, module=module, logits=logits(module), losses=losses_fn(module), **moved)


NETWORKS = {"perceptron": (lambda: mlp(5, 7, 10), (5,)), "convolutional": (convolutional, (1, 8, 8))}


def sizes(key: str, network: str) -> tuple[int | None, ...]:
    """The m of a variant to try: all kinds where a step is quick, the harder one where it is not."""
    if not variants.get(key).uses_m:
        return (None,)
    return (B, 2) if network == "perceptron" else (2,)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("key", variants.REGISTRY)
def test_no_step_waits_for_the_gpu_or_mixes_devices(key, network) -> None:
    P, taken = elsewhere(*NETWORKS[network]), set()
    for m in sizes(key, network):
        runs = [spec(key, m, B)] * 2
        for path in ("chain", "eager", "factored", "vmapped"):
            try:
                take = getattr(steppers, path)(P, runs)
                arguments = steppers.start(P, runs[0])
                take(*arguments)  # constants are made at the first call
                with OneDevice() as devices:
                    out = take(*arguments)
            except NotFactoredError:
                continue
            taken.add(path)
            assert not devices.moved, "nothing is sent to the GPU within a step"
            assert {a.device.type for a in pytree.tree_leaves(out)} == {"meta"}
    assert "vmapped" in taken


def test_training_sends_the_order_of_each_epoch_and_noise_but_no_data_to_the_gpu() -> None:
    P = elsewhere(*NETWORKS["perceptron"], n=4 * B)
    for variant, noise in (("sam", 0), ("rwsam", 1)):
        loop = steps(P, [spec(variant, B, B)] * 2)
        next(loop)
        with OneDevice() as devices:
            for _ in range(8):
                next(loop)
        orders = [a for a in devices.moved if a.dtype == torch.int64]
        assert [a.shape for a in orders] == [(4, 2, B)] * 2, "8 steps, 4 batches an epoch"
        assert len(devices.moved) - len(orders) == 8 * noise
