"""Network names, such as ``mlp:300-100``, ``cnn:12`` or ``resnet18:16``, without torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
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


class Layer(NamedTuple):
    """The name of a layer with parameters, their number, and its multiply-adds for one sample."""

    name: str
    parameters: int
    work: int


def parse(name: str) -> Architecture:
    """Read a network's name; ValueError saying what is wrong otherwise."""
    family, _, widths = str(name).partition(":")
    if family not in FAMILIES:
        raise ValueError(f"unknown network {name!r}; expected one of {', '.join(f'{f}:WIDTH' for f in FAMILIES)}")
    if not all(w.isdecimal() and len(w) <= 4 and 1 <= int(w) <= MAX_WIDTH for w in widths.split("-")):
        raise ValueError(f"network {name!r}: expected widths in [1, {MAX_WIDTH}], for example {family}:16")
    numbers = tuple(int(w) for w in widths.split("-"))
    if family != "mlp" and len(numbers) > 1:
        raise ValueError(f"network {name!r}: {family} has one width")
    if family == "resnet18" and numbers[0] % 8:
        raise ValueError(f"network {name!r}: the width must be a multiple of 8, the number of groups of GroupNorm")
    return Architecture(family, numbers)


def size(name: str, shape: tuple[int, ...], classes: int) -> Size:
    """d and the work of a forward pass, for inputs of that shape (without the batch); ValueError if they do not fit."""
    parts = layers(name, shape, classes)
    return Size(sum(part.parameters for part in parts), sum(part.work for part in parts))


def layers(name: str, shape: tuple[int, ...], classes: int) -> list[Layer]:
    """The layers that have parameters, from the inputs on; ValueError if the network does not fit the inputs."""
    family, widths = parse(name)
    if family != "mlp" and len(shape) != 3:
        raise ValueError(f"network {name!r} needs images (C, H, W); these inputs have shape {shape}; use an mlp")
    if family != "mlp" and min(shape[1:]) < 4:
        raise ValueError(f"network {name!r} needs images of at least 4x4 pixels, got {shape}")
    if family == "mlp":
        names = [*(f"hidden{i}" for i in range(1, len(widths) + 1)), "output"]
        sizes = itertools.pairwise((math.prod(shape), *widths, classes))
        return [Layer(part, a * b + b, a * b) for part, (a, b) in zip(names, sizes, strict=True)]
    if family == "resnet18":
        return list(_resnet18(widths[0], shape, classes))
    places, c = math.prod((side - 4) // 2 + 1 for side in shape[1:]), widths[0]
    conv, dense = 16 * shape[0] * c, c * places * classes
    return [Layer("conv", conv + c, conv * places), Layer("output", dense + classes, dense)]


def _resnet18(width: int, shape: tuple[int, ...], classes: int) -> Iterator[Layer]:
    """Each convolution, without a bias, has its norm layer behind it."""
    places = math.prod(shape[1:])

    def pair(conv: str, norm: str, inputs: int, outputs: int, kernel: int = 9) -> Iterator[Layer]:
        weights = kernel * inputs * outputs
        yield Layer(conv, weights, weights * places)
        yield Layer(norm, 2 * outputs, 0)

    yield from pair("stem.0", "stem.1", shape[0], width)
    fan = width
    for i in range(8):
        out, down = width * 2 ** (i // 2), i > 0 and i % 2 == 0
        places = max(1, places // 4) if down else places
        yield from pair(f"blocks.{i}.conv1", f"blocks.{i}.norm1", fan, out)
        yield from pair(f"blocks.{i}.conv2", f"blocks.{i}.norm2", out, out)
        if down:
            yield from pair(f"blocks.{i}.shortcut.0", f"blocks.{i}.shortcut.1", fan, out, kernel=1)
        fan = out
    yield Layer("head", fan * classes + classes, fan * classes)
