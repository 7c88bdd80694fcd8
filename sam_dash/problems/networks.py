"""The networks that `architecture` names, as modules without BatchNorm and dropout."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_dash.problems.architecture import parse, size


def build(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The module of that name for inputs of `shape` (without the batch); ValueError if they do not fit."""
    family, widths = parse(name)
    size(name, shape, classes)
    if family == "mlp":
        sizes = (math.prod(shape), *widths, classes)
        return nn.Sequential(OrderedDict(flatten=nn.Flatten(), **dict(_dense(sizes))))
    if family == "cnn":
        out = widths[0] * math.prod((side - 4) // 2 + 1 for side in shape[1:])
        conv = nn.Conv2d(shape[0], widths[0], 4, stride=2)
        parts = {"conv": conv, "relu": nn.ReLU(), "flatten": nn.Flatten(), "output": nn.Linear(out, classes)}
        return nn.Sequential(OrderedDict(parts))
    return ResNet18(shape[0], widths[0], classes)


def _dense(sizes: tuple[int, ...]) -> Iterator[tuple[str, nn.Module]]:
    *hidden, (a, b) = itertools.pairwise(sizes)
    for i, (inputs, outputs) in enumerate(hidden, 1):
        yield f"hidden{i}", nn.Linear(inputs, outputs)
        yield f"relu{i}", nn.ReLU()
    yield "output", nn.Linear(a, b)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He-normal weights (gain 1 in the last layer), zero biases, unit norm scales; in place."""
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in layers:
        fan_in = math.prod(layer.weight.shape[1:])
        gain = 1.0 if layer is layers[-1] else 2.0
        with torch.no_grad():
            layer.weight.normal_(0, math.sqrt(gain / fan_in), generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()


class Block(nn.Module):
    """Two 3x3 convolutions with GroupNorm and a shortcut (He et al., arXiv:1512.03385, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(8, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.GroupNorm(8, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h/stride, w/stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        out: Tensor = F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))
        return out


class ResNet18(nn.Module):
    """ResNet-18 for small images (3x3 stem, no max-pooling) with GroupNorm of 8 groups; `width` of the first stage."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.GroupNorm(8, width), nn.ReLU())
        widths = [width, *(width * 2**i for i in range(4))]
        blocks = []
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            blocks += [Block(a, b, 2 if i else 1), Block(b, b, 1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) -> (n, classes)."""
        out: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return out
