"""Samples (x, y) of any structure: counted, cut into parts, grouped; in memory, or streamed batch after batch.

x and y are tensors, or dicts, tuples and lists of them, which all lead with the samples. What is no tensor, or has no
dimension, goes along whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Stream:
    """Samples that are not in memory together: each `passes()` gives all batches (x, y), the same every time.

    `lengths` are the numbers of samples of the batches.
    """

    passes: Callable[[], Iterator[Any]]
    lengths: Sequence[int]


def samples(batch: Any) -> int:
    """The number of samples of a batch: the length of its tensors, which must all be as long."""
    plain = type(batch) is tuple and all(type(part) is Tensor for part in batch)  # a small step takes 9 such looks
    found = {leaf.shape[0] for leaf in (batch if plain else pytree.tree_leaves(batch)) if led(leaf)}
    if len(found) != 1:
        told = ", ".join(map(str, sorted(found))) or "none"
        raise ValueError(f"expected a batch whose tensors all lead with the same number of samples; found {told}")
    return found.pop()


def led(leaf: Any) -> bool:
    """Whether it is a tensor that leads with samples."""
    return isinstance(leaf, Tensor) and leaf.ndim > 0


def lengths(batch: Any) -> Sequence[int]:
    """The numbers of samples that are in memory together: of a stream's batches, or of the one batch."""
    return batch.lengths if isinstance(batch, Stream) else [samples(batch)]


def count(batch: Any) -> int:
    """The number of samples of a batch or a stream."""
    return sum(lengths(batch))


def each(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The batch with every tensor of samples changed."""
    return pytree.tree_map(lambda leaf: change(leaf) if led(leaf) else leaf, batch)


def cut(batch: Any, size: int) -> list[Any]:
    """A batch in parts of `size` consecutive samples, the last of those left."""
    return [each(batch, lambda leaf, at=at: leaf[at : at + size]) for at in range(0, samples(batch), size)]  # type: ignore


def chunks(batch: Any, size: int) -> Iterator[Any]:
    """A batch, or each of a stream, in parts of at most `size` consecutive samples."""
    for whole in batch.passes() if isinstance(batch, Stream) else (batch,):
        yield from cut(whole, size)


def shuffled(batch: Any, generator: torch.Generator | None) -> Any:
    """The samples in a random order, those of a stream within their batches; without a generator as they are."""
    if generator is None:
        return batch
    if not isinstance(batch, Stream):
        order = torch.randperm(samples(batch), generator=generator)
        return each(batch, lambda leaf: leaf[order.to(leaf.device)])
    seed = int(torch.randint(2**62, (), generator=generator))

    def passes() -> Iterator[Any]:
        own = torch.Generator().manual_seed(seed)
        return (shuffled(part, own) for part in batch.passes())

    return Stream(passes, batch.lengths)


def grouped(batch: Any, m: int) -> Any:
    """Micro-batches of m consecutive samples, (n // m, m, ...); samples left over are left out."""
    whole = samples(batch) // m * m
    return each(batch, lambda leaf: leaf[:whole].unflatten(0, (-1, m)))


def over(f: Callable[[Any], Any], groups: Any, chunk: int | None = None) -> Any:
    """f of every micro-batch of `grouped`, stacked: vectorised, `chunk` at once; or, where torch cannot, in a loop."""
    leaves, form = pytree.tree_flatten(groups)
    places = [i for i, leaf in enumerate(leaves) if led(leaf)]

    def one(*parts: Tensor) -> Any:
        filled = list(leaves)
        for i, part in zip(places, parts, strict=True):
            filled[i] = part
        return f(pytree.tree_unflatten(filled, form))

    rows = [leaves[i] for i in places]
    try:
        return vmap(one, chunk_size=chunk)(*rows)
    except (RuntimeError, ValueError, TypeError):  # without a batching rule, as GRU is; what is wrong, is so in a loop
        return pytree.tree_map(lambda *a: torch.stack(a), *(one(*parts) for parts in zip(*rows, strict=True)))


def arguments(x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a module is called with for x: a dict gives keyword arguments, a tuple or list arguments."""
    if isinstance(x, dict):
        return (), x
    return (tuple(x) if isinstance(x, tuple | list) else (x,)), {}
