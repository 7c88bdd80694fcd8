"""The networks that `architecture` names, as modules without BatchNorm and dropout."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_dash.maths.fast.factors_added import Added
from sam_dash.problems.architecture import (
    BLOCKS,
    EXPANSION,
    HEADS,
    cnn_names,
    halved,
    inputs,
    parse,
    patch,
    size,
    vit_tokens,
)  # fmt: skip


def build(name: str, shape: tuple[int, ...], classes: int, vocabulary: int = 0) -> nn.Module:
    """The module of that name for inputs of `shape` (without the batch), as `architecture.inputs` has them.

    `vocabulary`: how many tokens there are, where inputs are such. Raises ValueError if they do not fit.
    """
    family, widths = parse(name)
    size(name, shape, classes, vocabulary)
    shape, _ = inputs(name, shape, vocabulary)
    if family == "mlp":
        sizes = (math.prod(shape), *widths, classes)
        return nn.Sequential(OrderedDict(flatten=nn.Flatten(), **dict(_dense(sizes))))
    if family == "cnn":
        return nn.Sequential(OrderedDict(_cnn(widths, shape, classes)))
    if family == "resnet18":
        return ResNet18(shape[0], widths[0], classes)
    if family == "vit":
        places, each = vit_tokens(shape)
        patches = Patches(*(patch(side) for side in shape[1:]))
        return Transformer(patches, nn.Linear(each, widths[0]), places, widths[0], classes, mean=True)
    tokens = nn.Embedding(vocabulary, widths[0]) if vocabulary else nn.Linear(shape[1], widths[0])
    return Transformer(nn.Identity(), tokens, shape[0], widths[0], classes, mean=False)


def _cnn(widths: tuple[int, ...], shape: tuple[int, ...], classes: int) -> Iterator[tuple[str, nn.Module]]:
    c, *sides = shape
    for i, (name, width) in enumerate(zip(cnn_names(len(widths)), widths, strict=True), 1):
        yield name, nn.Conv2d(c, width, 4, stride=2)
        yield "relu" if len(widths) == 1 else f"relu{i}", nn.ReLU()
        c, sides = width, [halved(side) for side in sides]
    yield "flatten", nn.Flatten()
    yield "output", nn.Linear(c * math.prod(sides), classes)


def _dense(sizes: tuple[int, ...]) -> Iterator[tuple[str, nn.Module]]:
    *hidden, (a, b) = itertools.pairwise(sizes)
    for i, (before, after) in enumerate(hidden, 1):
        yield f"hidden{i}", nn.Linear(before, after)
        yield f"relu{i}", nn.ReLU()
    yield "output", nn.Linear(a, b)


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He-normal weights (gain 1 in the last layer), zero biases, unit norm scales; in place.

    In a transformer the gain is 1 in all layers; embeddings are standard normal, positions a tenth of that.
    """
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for layer in layers:
            fan_in = math.prod(layer.weight.shape[1:])
            gain = 1.0 if layer is layers[-1] or isinstance(module, Transformer) else 2.0
            layer.weight.normal_(0, math.sqrt(gain / fan_in), generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
        for part in module.modules():
            if isinstance(part, nn.Embedding | Added):
                part.weight.normal_(0, 1.0 if isinstance(part, nn.Embedding) else 0.1, generator=generator)


class Patches(nn.Module):
    """An image cut into patches of (height, width) pixels, each a row; sides that they do not divide end in zeros."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W) -> (n, T, C * height * width)."""
        x = F.pad(x, (0, -x.shape[3] % self.width, 0, -x.shape[2] % self.height))
        x = x.unflatten(3, (-1, self.width)).unflatten(2, (-1, self.height))
        return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


class Attention(nn.Module):
    """Self-attention of `HEADS` heads, all positions with all (Vaswani et al., arXiv:1706.03762, section 3.2).

    Written out: torch's fused kernel has no second derivative and no batching rule on a CPU.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, T, width) -> (n, T, width)."""
        q, k, v = self.inputs(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        out: Tensor = self.output((weights @ v).transpose(1, 2).flatten(2))
        return out


class TransformerBlock(nn.Module):
    """Attention, then a perceptron with GELU, each behind its LayerNorm and added to its inputs (pre-norm)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.expand, self.contract = nn.Linear(width, EXPANSION * width), nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, T, width) -> (n, T, width)."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.contract(F.gelu(self.expand(self.norm2(x))))
        return out


class Transformer(nn.Module):
    """Tokens with learned positions, `BLOCKS` blocks, a norm, and a linear layer on the mean of all positions, or the
    last.

    `cut` makes rows of a sample, `tokens` embeds them: patches of images (Dosovitskiy et al., arXiv:2010.11929), steps
    of a sequence, or words.
    """

    def __init__(self, cut: nn.Module, tokens: nn.Module, places: int, width: int, classes: int, *, mean: bool) -> None:
        super().__init__()
        self.mean = mean
        self.cut, self.tokens, self.positions = cut, tokens, Added(places, width)
        self.blocks = nn.Sequential(*(TransformerBlock(width) for _ in range(BLOCKS)))
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, H, W), (n, T, C) or indices (n, T) -> (n, classes)."""
        h = self.norm(self.blocks(self.positions(self.tokens(self.cut(x)))))
        out: Tensor = self.output(h.mean(1) if self.mean else h[:, -1])
        return out


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
