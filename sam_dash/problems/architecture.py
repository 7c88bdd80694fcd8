"""Network names, such as ``mlp:300-100``, ``cnn:12`` or ``resnet18:16``, without torch."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

FAMILIES = {
    "mlp": "ReLU multi-layer perceptron; hidden widths, for example mlp:64 or mlp:300-100",
    "cnn": "one 4x4 convolution of stride 2, ReLU, one linear layer; channels, for example cnn:12",
    "resnet18": "ResNet-18 with GroupNorm; width of the first stage, for example resnet18:16",
}
MAX_WIDTH = 4096


class Architecture(NamedTuple):
    """A family and its widths."""

    family: str
    widths: tuple[int, ...]


class Size(NamedTuple):
    """Number of parameters d, and multiply-adds of one sample's forward pass."""

    parameters: int
    work: int


def parse(name: str) -> Architecture:
    """Read a network's name; ValueError saying what is wrong otherwise."""
    family, _, widths = str(name).partition(":")
    if family not in FAMILIES:
        raise ValueError(f"unknown network {name!r}; expected one of {', '.join(f'{f}:WIDTH' for f in FAMILIES)}")
    if not all(w.isdecimal() and 1 <= int(w) <= MAX_WIDTH for w in widths.split("-")):
        raise ValueError(f"network {name!r}: expected widths in [1, {MAX_WIDTH}], for example {family}:16")
    numbers = tuple(int(w) for w in widths.split("-"))
    if family != "mlp" and len(numbers) > 1:
        raise ValueError(f"network {name!r}: {family} has one width")
    if family == "resnet18" and numbers[0] % 8:
        raise ValueError(f"network {name!r}: the width must be a multiple of 8, the number of groups of GroupNorm")
    return Architecture(family, numbers)


def size(name: str, shape: tuple[int, ...], classes: int) -> Size:
    """d and the work of a forward pass, for inputs of that shape (without the batch); ValueError if they do not fit."""
    family, widths = parse(name)
    if family != "mlp" and len(shape) != 3:
        raise ValueError(f"network {name!r} needs images (C, H, W); these inputs have shape {shape}; use an mlp")
    if family != "mlp" and min(shape[1:]) < 4:
        raise ValueError(f"network {name!r} needs images of at least 4x4 pixels, got {shape}")
    if family == "mlp":
        layers = (math.prod(shape), *widths, classes)
        work = sum(a * b for a, b in itertools.pairwise(layers))
        return Size(work + sum(layers[1:]), work)
    channels, height, width = shape
    if family == "cnn":
        h, w, c = (height - 4) // 2 + 1, (width - 4) // 2 + 1, widths[0]
        conv, dense = 16 * channels * c, c * h * w * classes
        return Size(conv + c + dense + classes, conv * h * w + dense)
    d, work, fan, side = 0, 0, channels, height * width
    for stage in range(4):
        out = widths[0] * 2**stage
        for block in range(2):
            if stage and not block:
                side = max(1, side // 4)
                d, work = d + fan * out + 2 * out, work + fan * out * side
            for inputs in (out if stage == 0 or block else fan, out):
                d, work = d + 9 * inputs * out + 2 * out, work + 9 * inputs * out * side
            fan = out
    stem = 9 * channels * widths[0]
    return Size(d + stem + 2 * widths[0] + fan * classes + classes, work + stem * height * width + fan * classes)
