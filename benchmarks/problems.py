"""The networks that are timed, on random data: a `Stack` for us, a module for the user, with the same weights."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sam_dash.maths.flat import flatten, logits, losses_fn
from sam_dash.problems.networks import ResNet18, initialise
from sam_dash.problems.stack import Stack
from sam_dash.runs.loop import steps
from sam_dash.runs.spec import Measures, RunSpec, Training
from sam_dash.runs.steppers import stepper


def mlp(*widths: int) -> nn.Module:
    """A ReLU perceptron."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def cnn() -> nn.Module:
    """About 80k weights on 28x28."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1568, 48), nn.ReLU(), nn.Linear(48, 10),
    )  # fmt: skip


BATCHES = 16  # in an epoch

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "MLP 40-128-128-10": (lambda: mlp(40, 128, 128, 10), (40,), 128),
    "CNN": (cnn, (1, 28, 28), 128),
    "ResNet-18 width 16": (lambda: ResNet18(3, 16, 10), (3, 32, 32), 64),
}
"""How to build it, the shape of an input, the batch size B."""

TRANSFORMERS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "ViT, 28x28": ("vit:64", (1, 28, 28), 0),
    "Transformer, 16 tokens": ("transformer:64", (16,), 100),
}
"""The network's name, the shape of an input, and how many tokens there are; B is `B_OF_TRANSFORMERS`."""
B_OF_TRANSFORMERS = 64


def problem(
    module: nn.Module, shape: tuple[int, ...], n: int, seeds: int = 1, device: str = "cpu", vocabulary: int = 0
) -> Stack:
    """Random inputs, or tokens, whose labels a random linear map can tell, so that training has something to learn."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(vocabulary, (n, *shape), generator=g) if vocabulary else torch.randn(n, *shape, generator=g)
    y = (x.flatten(1).float() @ torch.randn(x[0].numel(), 10, generator=g)).argmax(1)
    starts = []
    for seed in range(seeds):
        initialise(module, torch.Generator().manual_seed(seed))
        starts.append(flatten(module))
    module, x, y = module.to(device), x.to(device), y.to(device)
    rows = torch.arange(n, device=device).expand(seeds, n)
    labels = y.expand(seeds, n)
    return Stack(
        module, logits(module), losses_fn(module), tuple(range(seeds)), torch.stack(starts).to(device), x, rows,
        labels, labels, (x[:256], y[:256]), 10,
    )  # fmt: skip


def spec(variant: str, m: int | None, B: int, lr: float = 1e-3, **knobs: object) -> RunSpec:
    """A run of one variant that goes on long enough to be timed."""
    how = Training(batch=B, epochs=10_000, schedule="constant", lr=lr)
    return RunSpec(variant=variant, m=m, knobs=knobs, training=how, measures=Measures(what=()))


def training(P: Stack, run: RunSpec) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Our training loop: every `next` is one step of all seeds, batches, update and recorded scalars included."""
    specs = [run] * len(P.seeds)
    return steps(P, specs, stepper(P, specs).take)


def module_at(P: Stack, w: Tensor) -> nn.Module:
    """A copy of the module with the weights w (d,)."""
    module = copy.deepcopy(P.module)
    nn.utils.vector_to_parameters(w.clone(), module.parameters())
    return module


def trained(P: Stack, count: int) -> Tensor:
    """The weights (d,) of the first seed after so many steps of SGD, to measure curvature at."""
    loop = training(P, spec("sgd", None, min(64, P.n), lr=0.02))
    W = P.w0
    for _ in range(count):
        W = next(loop)[0]
    return W[0]
