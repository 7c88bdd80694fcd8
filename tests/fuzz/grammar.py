"""Random modules and what is done with them, as texts that can be read back.

module   shape(layer, layer, ...)       shape: features, images, sequences or tokens
layer    one of `layers.LAYERS`, or wrapper(layer, ...), of `layers.WRAPPERS`
"""

from __future__ import annotations

import ast
import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from sam_dash.maths.samples import cut
from tests.fuzz.layers import LAYERS, SHAPES, WRAPPERS
from tests.helpers import Made

C = 3
KINDS = (*SHAPES, "tokens", "tied_tokens")
each_cross_entropy = functools.partial(F.cross_entropy, reduction="none")
LOSSES: dict[str, Any] = {
    "cross_entropy": "cross_entropy", "mse": "mse", "bce": "bce", "function": nn.CrossEntropyLoss(reduction="none"),
    "smoothed": nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1),
    "mixed": lambda out, y: 0.7 * each_cross_entropy(out, y["a"]) + 0.3 * each_cross_entropy(out, y["b"]),
    "penalised": None,  # the cross-entropy and a function of the parameters: see `Case.loss_of`
    "of_a_dict": lambda out, y: each_cross_entropy(out["logits"], y) + 0.1 * out["hidden"].square().flatten(1).sum(1),
}  # fmt: skip
KNOBS: dict[str, tuple[dict[str, Any], ...]] = {
    "sgd": ({},), "sam": ({"rho": 0.3},), "usam": ({"rho": 0.3},),
    "asam": ({"rho": 0.3}, {"rho": 0.3, "form": "all"}), "gsam": ({"rho": 0.3},),
    "vasso": ({"rho": 0.3, "theta": 0.6},),
    "rwsam": ({"rho": 0.3}, {"rho": 0.3, "norms": "exact"}, {"rho": 0.3, "normalised": False}),
    "wsam": ({"rho": 0.3}, {"rho": 0.3, "coupling": "coupled"}), "looksam": ({"rho": 0.3, "period": 2},),
    "multisam": ({"rho": 0.3},), "unified": ({"rho": 0.3},), "msam": ({"rho": 0.3},),
}  # fmt: skip
BASES: dict[str, Any] = {
    "sgd": torch.optim.SGD, "momentum": functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=0.1),
    "adamw": functools.partial(torch.optim.AdamW, eps=1e-3, weight_decay=0.1),
}  # fmt: skip
BETWEEN = ("eval", "part", "freeze", "thaw", "load", "hook")  # what people do between steps
WRITTEN = {  # parts that the ways that are written out know
    "features": ("linear", "tanh", "layer_norm", "group_norm", "constant"),
    "images": ("conv", "relu", "group_norm", "max_pool", "average_pool", "dropout"),
}


@dataclass(frozen=True)
class Node:
    """A name, and what stands in its brackets."""

    name: str
    parts: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parts))})" if self.parts else self.name

    @classmethod
    def read(cls, text: str) -> Node:
        """The node of a text."""

        def node(found: Any) -> Node:
            if isinstance(found, ast.Name):
                return cls(found.id)
            return cls(found.func.id, tuple(map(node, found.args)))

        return node(ast.parse(text, mode="eval").body)

    def names(self) -> Iterator[str]:
        """All names in it."""
        yield self.name
        for part in self.parts:
            yield from part.names()

    def smaller(self) -> Iterator[Node]:
        """With a part left out, or with what stands in the brackets of one in its place, or with a part smaller."""
        for i, part in enumerate(self.parts):
            for other in ((), *((p,) for p in part.parts)):
                if self.name not in WRAPPERS or other:
                    yield replace(self, parts=(*self.parts[:i], *other, *self.parts[i + 1 :]))
            yield from (replace(self, parts=(*self.parts[:i], p, *self.parts[i + 1 :])) for p in part.smaller())


@dataclass(frozen=True)
class Case:
    """A module, what it is trained on, and how."""

    seed: int
    module: str
    variant: str = "sam"
    knobs: tuple[tuple[str, Any], ...] = (("rho", 0.3),)
    m: int | None = 2
    n: int = 4
    steps: int = 1
    loss: str = "cross_entropy"
    given: str = "tensor"  # or "dict", "tuple"
    base: str = "sgd"
    perturb: str = ""  # or "half", the parameters of even number
    groups: bool = False  # two, with a rate and a radius of their own
    clip: float | None = None
    size: int = 0  # samples in a batch of several; 0: all in one
    between: str = ""  # or one of BETWEEN
    top: str = "train"  # or "eval"

    def __str__(self) -> str:
        given = [(f.name, getattr(self, f.name), f.default) for f in fields(self)]
        return f"Case({', '.join(f'{name}={value!r}' for name, value, usual in given if value != usual)})"

    @classmethod
    def read(cls, text: str) -> Case:
        """The case of a text."""
        call: Any = ast.parse(text, mode="eval").body
        return cls(**{k.arg: ast.literal_eval(k.value) for k in call.keywords})

    def build(self) -> nn.Module:
        """The module, the same at every call."""
        torch.manual_seed(self.seed)
        node = Node.read(self.module)
        kind = "sequences" if "tokens" in node.name else node.name
        body = [layer(part, kind) for part in node.parts]
        if "relu_in_place" in node.names():
            body.insert(0, Made(lambda self, h: 1 * h))  # else it might change the batch, and the passes differ
        net = whole(node.name, body).double()
        if self.loss == "of_a_dict":
            net = Made(lambda self, x: {"logits": (out := self.net(x)), "hidden": out.tanh()}, net=net)
        if self.given != "tensor":
            net = Made(
                lambda self, x, side, power=1: self.net(x * side.view(-1, *[1] * (x.ndim - 1)) ** power), net=net
            )
        return net

    def loss_of(self, net: nn.Module) -> Any:
        """The loss, as `SharpnessAware` takes it."""
        if self.loss != "penalised":
            return LOSSES[self.loss]
        first = next(p for p in net.parameters() if p.requires_grad)
        return lambda out, y: each_cross_entropy(out, y) + 0.1 * first.square().mean()

    def batch(self, t: int) -> list[tuple[Any, Any]]:
        """The samples of step t, in so many batches."""
        torch.manual_seed(1000 * self.seed + t)
        kind = Node.read(self.module).name
        x = torch.randint(0, 7, (self.n, 3)) if "tokens" in kind else torch.randn(self.n, *SHAPES[kind]).double()
        classes = torch.randint(0, C, (2, self.n))
        y: Any = classes[0]
        if self.loss == "mse":
            y = torch.randn(self.n, C).double()
        elif self.loss == "bce":
            y = torch.randint(0, 2, (self.n, C)).double()
        elif self.loss == "mixed":
            y = {"a": classes[0], "b": classes[1]}
        side = torch.randint(1, 3, (self.n,)) if "tokens" in kind else torch.rand(self.n).double() + 0.5
        x = {"tensor": x, "dict": {"side": side, "x": x, "power": 1}, "tuple": (x, side)}[self.given]
        return cut((x, y), self.size or self.n)

    def smaller(self) -> Iterator[Case]:
        """Cases with less in them."""
        for node in Node.read(self.module).smaller():
            yield replace(self, module=str(node))
        for f in fields(self):
            if f.name not in ("seed", "module") and getattr(self, f.name) != f.default:
                yield replace(self, **{f.name: f.default})
        if self.steps > 1:
            yield replace(self, steps=self.steps - 1)


def whole(kind: str, body: list[nn.Module]) -> nn.Module:
    """The layers between what they need in front and a head of C outputs."""
    mean = Made(lambda self, h: h.mean(1))
    if kind == "features":
        return nn.Sequential(*body, nn.Linear(6, C))
    if kind == "images":
        return nn.Sequential(*body, nn.Flatten(), nn.Linear(36, C))
    if kind == "sequences":
        return nn.Sequential(*body, mean, nn.Linear(4, C))
    words = nn.Embedding(7, 4, padding_idx=1)
    if kind == "tokens":
        return nn.Sequential(words, *body, mean, nn.Linear(4, C))
    return Made(
        lambda self, x: F.linear(self.body(self.words(x)).mean(1), self.words.weight)[:, :C],
        words=words, body=nn.Sequential(*body),
    )  # fmt: skip


def layer(node: Node, kind: str) -> nn.Module:
    """The layer of a node."""
    if node.name in WRAPPERS:
        return WRAPPERS[node.name][1](*(layer(part, kind) for part in node.parts))
    return LAYERS[kind][node.name]()


def drawn(number: int, seed: int = 0) -> Case:
    """Case `number` of a seed. Each kind of module and each of its layers and wrappers has its turn."""
    rng = random.Random(f"{seed} {number}")
    turn, kind = divmod(number + seed, len(KINDS))
    name = KINDS[kind]
    layers = LAYERS["sequences" if "tokens" in name else name]
    due = [*layers, *WRAPPERS][turn * 7 % (len(layers) + len(WRAPPERS))]

    def one(name: str, depth: int) -> Node:
        parts = range(WRAPPERS[name][0] if name in WRAPPERS else 0)
        return Node(name, tuple(one(any_of(depth - 1), depth - 1) for _ in parts))

    def any_of(depth: int) -> str:
        return rng.choice(
            [*WRAPPERS] if depth and rng.random() < 0.35 else [name for name in layers if name != "outside"]
        )

    body = [one(any_of(2), 2) for _ in range(rng.randrange(4))]
    body.insert(len(body) if due == "outside" else rng.randrange(len(body) + 1), one(due, 2))  # where no norm undoes it
    written = rng.random() < 0.2
    if written:
        name = rng.choice([*WRITTEN])
        some = rng.choices(WRITTEN[name], k=rng.randrange(1, 5))
        body = list(
            map(Node, ("linear", "relu") * (len(some) // 2) if rng.random() < 0.4 and name == "features" else some)
        )
    variant = rng.choice(("sam", "usam", "rwsam", "unified") if written else (*KNOBS, "sam", "sam", "usam"))
    n = rng.choice((4, 4, 6))
    size = rng.choice((n, n, n, n, n // 2, 4))
    of_this = [m for m in (1, 2, 3, 4, 6) if m == n or (size % m == 0 and n % size % m == 0)]
    case = Case(
        number + 1_000_000 * seed, str(Node(name, tuple(body))), variant, tuple(rng.choice(KNOBS[variant]).items()),
        None if variant == "sgd" else rng.choice(of_this), n, steps=rng.choice((1, 2, 3)), base=rng.choice([*BASES]),
        clip=rng.choice((None, None, None, 0.1)), size=size % n, between=rng.choice(("", *BETWEEN)),
        top=rng.choice(("train", "train", "train", "eval")),
    )  # fmt: skip
    if written:
        return replace(case, loss=rng.choice(("cross_entropy", "mse", "bce")))
    # the gradients of a squared error of a linear model on one sample are parallel, and LookSAM's direction is rounding
    losses = [x for x in (*LOSSES, "cross_entropy") if (variant, x) != ("looksam", "mse")]
    return replace(
        case, loss=rng.choice(losses), perturb=rng.choice(("", "", "", "", "half")),
        given="tensor" if "tokens" in name else rng.choice(("tensor", "tensor", "tensor", "dict", "tuple")),
        groups=rng.random() < 0.15,
    )  # fmt: skip
