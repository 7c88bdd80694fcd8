"""nn.Module <-> flat parameter vector w (d,), in the order of `torch.nn.utils.parameters_to_vector`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils import _pytree as pytree

from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.maths.samples import arguments, cut, samples

PerSample = Callable[[Any, Any], Tensor]  # (outputs, y) -> (n,): a `Loss`, or any function


@dataclass(frozen=True)
class Layout:
    """Names and shapes of a module's trainable parameters, in order."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """The layout of the parameters of `module` that require a gradient; one that is shared is there once."""
        named = tuple((n, p) for n, p in module.named_parameters() if p.requires_grad)
        return cls(tuple(n for n, _ in named), tuple(p.shape for _, p in named))

    @property
    def d(self) -> int:
        """The number of parameters."""
        return sum(self.counts)

    @functools.cached_property
    def counts(self) -> list[int]:
        """The number of values of each parameter."""
        return [math.prod(s) for s in self.shapes]

    def segments(self, w: Tensor) -> tuple[Tensor, ...]:
        """The parts of w that belong to each parameter, flat."""
        return w.split_with_sizes(self.counts)

    def sizes(self) -> dict[str, int]:
        """The number of parameters of each layer, by its name in the module, in order."""
        out: dict[str, int] = {}
        for name, shape in zip(self.names, self.shapes, strict=True):
            layer = name.rpartition(".")[0]
            out[layer] = out.get(layer, 0) + math.prod(shape)
        return out

    def first(self, x: Tensor, part: str) -> Tensor:
        """x (d,) at the first coordinate of each tensor or layer (`part`).  -> (P,)"""
        return x[_places(self, part, x.device)[1]]

    def spread(self, values: Tensor, part: str) -> Tensor:
        """One value for each tensor or layer, on all its coordinates.  (P,) -> (d,)"""
        return values[_places(self, part, values.device)[0]]

    def norms(self, x: Tensor, part: str) -> Tensor:
        """The norm of each tensor's or layer's part of x.  (d,) -> (P,)"""
        owner, starts = _places(self, part, x.device)
        return x.new_zeros(len(starts)).index_add(0, owner, x * x).sqrt()

    def weights(self, x: Tensor) -> Tensor:
        """Whether a coordinate is of a tensor named "weight", as 0 or 1.  (d,) -> (d,)"""
        return self.spread(_named(self, x.dtype, x.device), "tensor")

    def unflatten(self, w: Tensor) -> dict[str, Tensor]:
        """w (d,) as named parameters."""
        return dict(zip(self.names, self.parts(w), strict=True))

    def parts(self, w: Tensor) -> list[Tensor]:
        """The parts of w that belong to each parameter, of its shape."""
        return [a.view(s) for a, s in zip(self.segments(w), self.shapes, strict=True)]


@functools.lru_cache(maxsize=64)
def _places(layout: Layout, part: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The number of the part that each coordinate belongs to (d,), and where each part starts (P,)."""
    names = [n if part == "tensor" else n.rpartition(".")[0] for n in layout.names]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    owner: list[int] = []
    starts: dict[str, int] = {}
    for name, shape in zip(names, layout.shapes, strict=True):
        starts.setdefault(name, len(owner))
        owner += [numbers[name]] * math.prod(shape)
    return torch.tensor(owner, device=device), torch.tensor(list(starts.values()), device=device)


@functools.lru_cache(maxsize=64)
def _named(layout: Layout, dtype: torch.dtype, device: torch.device) -> Tensor:
    """1 for each tensor named "weight", else 0 (P,)."""
    return torch.tensor([float("weight" in name) for name in layout.names], dtype=dtype, device=device)


def flatten(module: nn.Module) -> Tensor:
    """A copy of the module's parameters that require a gradient as one vector (d,)."""
    return torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])


def logits(module: nn.Module) -> Callable[[Tensor, Any], Any]:
    """`logits(w, x)`: the module's outputs, such as (n, C), under the parameters w (d,); it is left as it was."""
    layout, outputs = Layout.of(module), of_parameters(module)
    return lambda w, x: outputs(layout.unflatten(w), x)


def of_parameters(module: nn.Module) -> Callable[[dict[str, Tensor], Any], Any]:
    """`outputs(named, x)`: the module's outputs under its trained parameters by name; it is left as it was."""
    guard(module)
    places = _owners(module)

    def outputs(named: dict[str, Tensor], x: Any) -> Any:
        args, kwargs = arguments(x)
        own = {at: named[name] for at, name in places.items()}
        return functional_call(module, own, args, kwargs, tie_weights=False)

    return outputs


def _owners(module: nn.Module) -> dict[str, str]:
    """Where each trained parameter is to be put, by the first name of each module that has it, and its own name.

    torch's own `tie_weights` puts it under every name: into a module that has two of them twice, and then cannot put
    the first back.
    """
    own = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
    parts = ((prefix, attr, p) for prefix, part in module.named_modules() for attr, p in part._parameters.items())
    return {f"{prefix}.{attr}" if prefix else attr: own[id(p)] for prefix, attr, p in parts if id(p) in own}


def losses_fn(module: nn.Module, loss: PerSample = CROSS_ENTROPY) -> Callable[[Tensor, Any], Tensor]:
    """`losses(w, (x, y)) -> (n,)`: the loss of each sample under the parameters w (d,)."""
    outputs = logits(module)
    return lambda w, batch: loss(outputs(w, batch[0]), batch[1])


def guard(module: nn.Module) -> None:
    """Raise ValueError for a module whose per-sample loss is not a function of w and that sample alone."""
    for name, part in module.named_modules():
        where = f"{type(part).__name__} {name!r}" if name else type(part).__name__
        if isinstance(part, _BatchNorm) and (part.training or not part.track_running_stats):
            raise ValueError(
                f"{where}: batch statistics make each sample's loss depend on the others, and on m; use GroupNorm "
                "or LayerNorm instead, or model.eval()"
            )
        if isinstance(part, _DropoutNd) and part.p > 0 and part.training:
            raise ValueError(
                f"{where}: a new mask at w + eps makes the perturbation fit the mask; set its p to 0 or remove it, or "
                "model.eval()"
            )


def refuse_not_finite(module: nn.Module, x: Any, y: Any) -> None:
    """Raise ValueError naming the first tensor, of inputs, labels and the module's own, with a NaN or an infinity.

    x and y are tensors, or dicts, tuples and lists of them.
    """
    named = [(f"the {what}{''.join(map(str, path))}", leaf) for what, given in (("inputs x", x), ("labels y", y))
             for path, leaf in pytree.tree_flatten_with_path(given)[0]]  # fmt: skip
    named += [(f"the model's {name!r}", a) for name, a in (*module.named_parameters(), *module.named_buffers())]
    for name, tensor in named:
        if not isinstance(tensor, Tensor) or bool(tensor.isfinite().all()):
            continue
        bad = (~tensor.isfinite()).nonzero()
        raise ValueError(
            f"{len(bad)} of the {tensor.numel()} values of {name} are NaN or infinite, the first at index "
            f"{tuple(bad[0].tolist())}; expected finite numbers"
        )


def check_samples(outputs_fn: Callable[[Tensor, Any], Any], w: Tensor, x: Any) -> Any:
    """The outputs of the first samples of x; ValueError unless they are of w and each sample alone.

    Two forwards at the same weights must agree, and a sample alone with the same sample among others.
    """
    few = cut(x, 32)[0]
    with torch.no_grad():
        found = outputs_fn(w, few), outputs_fn(w, few), outputs_fn(w, cut(few, 1)[0])
    leaves = [[a for a in pytree.tree_leaves(of) if isinstance(a, Tensor) and a.is_floating_point()] for of in found]
    for leaf in leaves[0]:
        if leaf.ndim == 0 or len(leaf) != samples(few):
            told = f"{tuple(leaf.shape)} for {samples(few)} samples"
            raise ValueError(f"the model returns {told}; expected outputs that lead with the samples, as (n, C)")
    out, again, alone = (torch.cat([a.reshape(len(a), -1) for a in of], 1) for of in leaves)
    for other, why in (
        (again, "two forwards of the same samples at the same weights differ: is there dropout? model.eval() ends it"),
        (alone, "a sample's outputs depend on those beside it: is there BatchNorm? Use GroupNorm, or model.eval()"),
    ):
        apart = float((out[: len(other)] - other).abs().max())
        if apart > 1e-3 * float(out.abs().max()):
            raise ValueError(f"{why} (outputs differ by up to {apart:.2g})")
    return found[0]


def check_per_sample(losses: Any, n: int) -> None:
    """ValueError for losses of n samples that are not one number each."""
    if not isinstance(losses, Tensor) or losses.shape != (n,):
        found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(
            f"the loss of {n} samples is {found}; expected one number a sample, ({n},): pass per-sample losses, "
            "such as torch.nn.CrossEntropyLoss(reduction='none')"
        )


def piecewise_linear(module: nn.Module) -> bool:
    """Whether the outputs are piecewise linear in each single weight, so that tr(H) = tr(GGN) almost everywhere.

    True for a chain of linear and convolution layers, ReLU and pooling, `as_written`, in which no layer occurs twice.
    """
    linear = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    rest = (nn.ReLU, nn.LeakyReLU, nn.Flatten, nn.Identity, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
    parts = list(_chain(module))
    trainable = [id(p) for part in parts for p in part.parameters()]
    known = all(type(p) in linear + rest for p in parts) and as_written(module)
    return known and len(trainable) == len(set(trainable))


def as_written(module: nn.Module) -> bool:
    """Whether every part computes what its class says: no hook, no `forward` of its own, no parameters besides weight
    and bias, as `weight_norm` and other parametrisations have them.
    """
    for part in module.modules():
        hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
        if any(hooks) or set(part._parameters) - {"weight", "bias"} or "forward" in vars(part):
            return False
    return True


def _chain(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for part in module:
            yield from _chain(part)
    else:
        yield module
