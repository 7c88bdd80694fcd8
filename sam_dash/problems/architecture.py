"""Network names, such as ``mlp:300-100``, ``cnn:12`` or ``resnet18:16``, without torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

FAMILIES = {
    "mlp": "ReLU multi-layer perceptron; hidden widths, for example mlp:64 or mlp:300-100",
    "cnn": "4x4 convolutions of stride 2 with ReLU, one for each number of channels, and one linear layer; for example "
    "cnn:12 or cnn:16-32",
    "resnet18": "ResNet-18 with GroupNorm; width of the first stage, for example resnet18:16",
    "vit": "vision transformer: patches of 4x4 pixels (at most 8 a side), two pre-norm blocks of 4 heads, read as "
    "their mean; width, for example vit:32",
    "transformer": "the same blocks on sequences: of numbers (T,) or (T, C), or of tokens (T,), read at the last "
    "position; width, for example transformer:32",
}
MAX_WIDTH, MAX_LAYERS = 4096, 100
SEVERAL = ("mlp", "cnn")  # families of one or more widths
DIVISOR = {"resnet18": 8, "vit": 4, "transformer": 4}  # of the width
REASON = {"resnet18": "number of groups of GroupNorm", "vit": "number of heads", "transformer": "number of heads"}
BLOCKS, HEADS, EXPANSION = 2, 4, 4  # of a transformer: how deep, and how much wider its perceptrons are inside
PATCHES = 8  # of a vision transformer, a side, at most
MAX_CHANNELS = 4  # of images whose channels come last


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


class Inputs(NamedTuple):
    """One input as a network takes it: its shape, and whether channels that come last in the data are moved first."""

    shape: tuple[int, ...]
    moved: bool = False


def parse(name: str) -> Architecture:
    """Read a network's name; ValueError saying what is wrong otherwise."""
    family, _, widths = str(name).partition(":")
    if family not in FAMILIES:
        raise ValueError(f"unknown network {str(name)[:60]!r}; expected one of {':WIDTH, '.join(FAMILIES)}:WIDTH")
    if not all(w.isdecimal() and len(w) <= 4 and 1 <= int(w) <= MAX_WIDTH for w in widths.split("-")):
        raise ValueError(f"network {name[:60]!r}: expected widths in [1, {MAX_WIDTH}], for example {family}:16")
    numbers = tuple(int(w) for w in widths.split("-"))
    if len(numbers) > MAX_LAYERS:
        raise ValueError(f"network of {len(numbers)} layers: expected at most {MAX_LAYERS}")
    if family not in SEVERAL and len(numbers) > 1:
        raise ValueError(f"network {name!r}: {family} has one width")
    if numbers[0] % (divisor := DIVISOR.get(family, 1)):
        raise ValueError(f"network {name!r}: the width must be a multiple of {divisor}, the {REASON[family]}")
    return Architecture(family, numbers)


def inputs(name: str, shape: tuple[int, ...], vocabulary: int = 0) -> Inputs:
    """How the network takes inputs of that shape (without the batch); ValueError if it cannot.

    Images (H, W) are given their one channel, and those of (H, W, C) with at most `MAX_CHANNELS` are turned; a sequence
    (T,) of numbers has one a step. Of `vocabulary` > 0 tokens the inputs are the indices (T,).
    """
    family, widths = parse(name)
    if family == "transformer":
        if len(shape) > 2 or (vocabulary and len(shape) > 1):
            wanted = "tokens (T,)" if vocabulary else "sequences (T,) or (T, C)"
            raise ValueError(f"network {name!r} needs {wanted}; these inputs have shape {shape}; images take a vit")
        return Inputs(shape if vocabulary or len(shape) == 2 else (*shape, 1))
    if vocabulary:
        raise ValueError(
            f"network {name!r} takes numbers; these inputs are tokens: use a transformer, such as transformer:32"
        )
    if family == "mlp":
        return Inputs(shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"network {name!r} needs images (C, H, W); these inputs have shape {shape}; use an mlp")
    moved = len(shape) == 3 and shape[2] <= MAX_CHANNELS < shape[0]
    image = (1, *shape) if len(shape) == 2 else (shape[2], *shape[:2]) if moved else shape
    sides = image[1:]
    for stage in range(len(widths) if family == "cnn" else 1):
        if min(sides) < 4:
            found = f"{tuple(image)}" if not stage else f"{tuple(image)}, of which stage {stage + 1} sees {sides}"
            raise ValueError(f"network {name!r} needs images of at least 4x4 pixels at every stage, got {found}")
        sides = tuple(map(halved, sides))
    return Inputs(image, moved)


def halved(side: int) -> int:
    """Pixels of a side behind a 4x4 convolution of stride 2."""
    return (side - 4) // 2 + 1


def patch(side: int) -> int:
    """Pixels of a patch's side: four, or as many as make `PATCHES` patches of the image's."""
    return max(4, -(-side // PATCHES))


def size(name: str, shape: tuple[int, ...], classes: int, vocabulary: int = 0) -> Size:
    """d and the work of a forward pass, for inputs of that shape (without the batch); ValueError if they do not fit."""
    parts = layers(name, shape, classes, vocabulary)
    return Size(sum(part.parameters for part in parts), sum(part.work for part in parts))


def layers(name: str, shape: tuple[int, ...], classes: int, vocabulary: int = 0) -> list[Layer]:
    """The layers that have parameters, from the inputs on; ValueError if the network does not fit the inputs.

    `vocabulary`: how many tokens there are, where inputs are such; else 0.
    """
    family, widths = parse(name)
    shape, _ = inputs(name, shape, vocabulary)
    if family == "mlp":
        names = [*(f"hidden{i}" for i in range(1, len(widths) + 1)), "output"]
        return [
            _linear(part, a, b)
            for part, (a, b) in zip(names, itertools.pairwise((math.prod(shape), *widths, classes)), strict=True)
        ]
    if family == "resnet18":
        return list(_resnet18(widths[0], shape, classes))
    if family == "cnn":
        return list(_cnn(widths, shape, classes))
    if family == "vit":
        places, each = vit_tokens(shape)
        return list(_transformer(widths[0], places, _linear("tokens", each, widths[0], places), classes))
    places = shape[0]
    first = Layer("tokens", vocabulary * widths[0], 0) if vocabulary else _linear("tokens", shape[1], widths[0], places)
    return list(_transformer(widths[0], places, first, classes))


def vit_tokens(shape: tuple[int, ...]) -> tuple[int, int]:
    """Patches of an image (C, H, W), and numbers in each."""
    C, *sides = shape
    patches = [patch(side) for side in sides]
    return math.prod(-(-side // p) for side, p in zip(sides, patches, strict=True)), C * math.prod(patches)


def cnn_names(stages: int) -> list[str]:
    """What the convolutions are called."""
    return ["conv"] if stages == 1 else [f"conv{i}" for i in range(1, stages + 1)]


def _linear(name: str, a: int, b: int, places: int = 1) -> Layer:
    return Layer(name, a * b + b, a * b * places)


def _cnn(widths: tuple[int, ...], shape: tuple[int, ...], classes: int) -> Iterator[Layer]:
    c, *sides = shape
    for name, width in zip(cnn_names(len(widths)), widths, strict=True):
        sides = [halved(side) for side in sides]
        yield Layer(name, 16 * c * width + width, 16 * c * width * math.prod(sides))
        c = width
    yield _linear("output", c * math.prod(sides), classes)


def _transformer(width: int, places: int, first: Layer, classes: int) -> Iterator[Layer]:
    """The products of attention, which have no parameters, are counted with the layer behind them."""
    yield first
    yield Layer("positions", places * width, 0)
    for i in range(BLOCKS):
        at = f"blocks.{i}"
        yield Layer(f"{at}.norm1", 2 * width, 0)
        yield _linear(f"{at}.attention.inputs", width, 3 * width, places)
        out = _linear(f"{at}.attention.output", width, width, places)
        yield out._replace(work=out.work + 2 * places**2 * width)
        yield Layer(f"{at}.norm2", 2 * width, 0)
        yield _linear(f"{at}.expand", width, EXPANSION * width, places)
        yield _linear(f"{at}.contract", EXPANSION * width, width, places)
    yield Layer("norm", 2 * width, 0)
    yield _linear("output", width, classes)


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
