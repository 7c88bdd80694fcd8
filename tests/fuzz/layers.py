"""The layers that random modules are made of: each takes a tensor to one of its own shape, so that any may be left out.

A shape is that of a sample: FEATURES (6,), IMAGES (4, 3, 3) or SEQUENCES (3, 4).
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from tests.helpers import Made

SHAPES = {"features": (6,), "images": (4, 3, 3), "sequences": (3, 4)}


class Buffered(nn.Module):
    """A function of itself and its input, with buffers and parts."""

    def __init__(self, function: Callable[..., Tensor], buffers: dict[str, Tensor], **parts: Any) -> None:
        super().__init__()
        for name, value in buffers.items():
            self.register_buffer(name, value)
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, h: Tensor) -> Tensor:
        return self.function(self, h)


def parameter(*shape: int) -> nn.Parameter:
    """A bare parameter, neither 0 nor large."""
    return nn.Parameter(torch.randn(shape) / max(1, math.prod(shape[1:])) ** 0.5)


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


def in_eval(layer: nn.Module) -> nn.Module:
    return layer.eval()


def adapted() -> nn.Module:
    """A frozen layer with a low-rank one beside it that is trained."""
    base = nn.Linear(6, 6).requires_grad_(False)
    return Made(
        lambda self, h: self.base(h) + h @ self.down @ self.up, base=base, down=parameter(6, 2), up=parameter(2, 6)
    )


def moving(self: Any, h: Tensor) -> Tensor:
    """Statistics of its own, that move in training and are used in it."""
    if self.training:
        self.mean = self.mean.lerp(h.detach().mean((0, *range(2, h.ndim))), 0.3)
    return h - 0.1 * self.mean.view(1, -1, *[1] * (h.ndim - 2))


def counting(self: Any, h: Tensor) -> Tensor:
    self.count += 1
    return h * self.scale


def derivative(self: Any, h: Tensor) -> Tensor:
    """One by its inputs, as PINNs and energies have it."""
    x = h if h.requires_grad else h.detach().requires_grad_()
    return torch.autograd.grad(self.a(x).tanh().square().sum(), x, create_graph=True)[0]


FEATURES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(6, 6),
    "narrow": lambda: nn.Sequential(nn.Linear(6, 3, bias=False), nn.Linear(3, 6)),
    "layer_norm": lambda: nn.LayerNorm(6),
    "layer_norm_without_shift": lambda: nn.LayerNorm(6, bias=False),
    "rms_norm": lambda: nn.RMSNorm(6),
    "group_norm": lambda: nn.GroupNorm(2, 6),
    "batch_norm": lambda: nn.BatchNorm1d(6),
    "batch_norm_without_statistics": lambda: nn.BatchNorm1d(6, track_running_stats=False),
    "batch_norm_in_eval": lambda: in_eval(nn.BatchNorm1d(6)),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Linear(6, 6)),
    "old_weight_norm": lambda: old_weight_norm(nn.Linear(6, 6)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Linear(6, 6)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(6, 6)),
    "pruned": lambda: prune.l1_unstructured(nn.Linear(6, 6), "weight", 0.5),
    "bilinear": lambda: Made(lambda self, h: self.a(h.tanh(), h), a=nn.Bilinear(6, 6, 6)),
    "matmul": lambda: Made(lambda self, h: torch.addmm(self.b, h, self.W), W=parameter(6, 6), b=parameter(6)),
    "einsum": lambda: Made(lambda self, h: torch.einsum("ni,kij->nkj", h, self.W).sum(1), W=parameter(2, 6, 6)),
    "adapted": adapted,
    "derivative": lambda: Made(derivative, a=nn.Linear(6, 6)),
    "glu": lambda: nn.Sequential(nn.Linear(6, 12), nn.GLU()),
    "prelu": lambda: nn.PReLU(6),
    "listed": lambda: Made(
        lambda self, h: sum(h * p for p in self.ps), ps=nn.ParameterList([parameter(6), parameter(6)])
    ),
    "as_channels": lambda: Made(lambda self, h: self.a(h[:, None]).mean(1), a=nn.Conv1d(1, 2, 3, padding=1)),
    "bagged": lambda: Made(
        lambda self, h: h + self.a((h.abs() * 3).long().clamp(max=4)), a=nn.EmbeddingBag(5, 6, mode="mean")
    ),
    "sparse": lambda: Made(
        lambda self, h: h + self.a((h[:, 0].abs() * 3).long().clamp(max=4)), a=nn.Embedding(5, 6, sparse=True)
    ),
    "renormed": lambda: Made(
        lambda self, h: h + self.a((h[:, 0].abs() * 3).long().clamp(max=4)), a=nn.Embedding(5, 6, max_norm=1.0)
    ),
}  # fmt: skip

IMAGES: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "conv_without_bias": lambda: nn.Conv2d(4, 4, 1, bias=False),
    "dilated": lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "same": lambda: nn.Conv2d(4, 4, 3, padding="same"),
    "circular": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
    "strided": lambda: nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2)),
    "oblong": lambda: nn.Conv2d(4, 4, (1, 3), padding=(0, 1)),
    "max_pool": lambda: nn.MaxPool2d(3, 1, 1),
    "halved": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2), nn.Upsample(size=(3, 3))),
    "average_pool": lambda: nn.AvgPool2d(3, 1, 1),
    "squeeze_excite": lambda: Made(
        lambda self, h: h * self.b(self.a(h.mean((2, 3))).relu()).sigmoid()[:, :, None, None],
        a=nn.Linear(4, 2), b=nn.Linear(2, 4),
    ),
    "group_norm": lambda: nn.GroupNorm(2, 4),
    "layer_norm": lambda: nn.LayerNorm((4, 3, 3)),
    "batch_norm": lambda: nn.BatchNorm2d(4),
    "instance_norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "instance_norm_with_statistics": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "dropout2d": lambda: nn.Dropout2d(0.5),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1)),
    "prelu": lambda: nn.PReLU(),
}  # fmt: skip


def self_attention(self: Any, h: Tensor) -> Tensor:
    return self.a(h, h, h, need_weights=False)[0]


def written_attention(self: Any, h: Tensor) -> Tensor:
    q, k, v = self.a(h).view(*h.shape[:2], 3, 2, 2).permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-1, -2) / 2**0.5).masked_fill(self.mask, -torch.inf) + self.table[:, None]
    return self.b((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def scaled_attention(self: Any, h: Tensor) -> Tensor:
    q, k, v = (a(h).view(*h.shape[:2], 2, 2).transpose(1, 2) for a in (self.q, self.k, self.v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


def padded(self: Any, h: Tensor) -> Tensor:
    mask = h[..., 0] > 1
    mask[:, 0] = False
    return self.a(h, src_key_padding_mask=mask)


def cell_by_cell(self: Any, h: Tensor) -> Tensor:
    state, out = h.new_zeros(len(h), 4), []
    for t in range(h.shape[1]):
        state = self.a(h[:, t], state)
        out.append(state)
    return torch.stack(out, 1)


def packed(self: Any, h: Tensor) -> Tensor:
    lengths = (h[:, 0, 0] > 0).long().cpu() + 2
    given = nn.utils.rnn.pack_padded_sequence(h, lengths, batch_first=True, enforce_sorted=False)
    return nn.utils.rnn.pad_packed_sequence(self.a(given)[0], batch_first=True, total_length=3)[0]


def recurrent(kind: type[nn.Module], *sizes: int, **options: Any) -> nn.Module:
    return Made(lambda self, h: self.a(h)[0], a=kind(4, *sizes, batch_first=True, **options))


def encoder(**options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(4, 2, 5, batch_first=True, **({"dropout": 0.0} | options))


SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(4, 4),
    "mixing": lambda: Made(lambda self, h: self.a(h.transpose(1, 2)).transpose(1, 2), a=nn.Linear(3, 3)),
    "layer_norm": lambda: nn.LayerNorm(4),
    "rms_norm": lambda: nn.RMSNorm(4),
    "batch_norm": lambda: Made(lambda self, h: self.a(h.transpose(1, 2)).transpose(1, 2), a=nn.BatchNorm1d(4)),
    "conv1d": lambda: Made(lambda self, h: self.a(h.transpose(1, 2)).transpose(1, 2), a=nn.Conv1d(4, 4, 3, padding=1)),
    "position": lambda: Made(lambda self, h: h + self.p, p=parameter(3, 4)),
    "attention": lambda: Made(self_attention, a=nn.MultiheadAttention(4, 2, batch_first=True)),
    "attention_with_weights": lambda: Made(
        lambda self, h: self.a(h, h, h)[0], a=nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True)
    ),
    "attention_batch_second": lambda: Made(
        lambda self, h: self_attention(self, h.transpose(0, 1)).transpose(0, 1), a=nn.MultiheadAttention(4, 2)
    ),
    "attention_with_dropout": lambda: Made(self_attention, a=nn.MultiheadAttention(4, 2, 0.3, batch_first=True)),
    "across": lambda: Made(
        lambda self, h: self.a(h, h.flip(1)[..., :3], h.tanh())[0],
        a=nn.MultiheadAttention(4, 2, kdim=3, batch_first=True),
    ),
    "written_attention": lambda: Buffered(
        written_attention, {"mask": torch.ones(3, 3, dtype=torch.bool).triu(1)}, a=nn.Linear(4, 12), b=nn.Linear(4, 4),
        table=parameter(2, 3),
    ),
    "scaled_attention": lambda: Made(scaled_attention, q=nn.Linear(4, 4), k=nn.Linear(4, 4), v=nn.Linear(4, 4)),
    "encoder": encoder,
    "encoder_norm_first": lambda: encoder(norm_first=True, activation="gelu"),
    "encoder_with_dropout": lambda: encoder(dropout=0.3),
    "encoder_padded": lambda: Made(padded, a=encoder()),
    "encoder_of_two": lambda: nn.TransformerEncoder(encoder(), 2, enable_nested_tensor=False),
    "decoder": lambda: Made(
        lambda self, h: self.a(h, h.flip(1)), a=nn.TransformerDecoderLayer(4, 2, 5, 0.0, batch_first=True)
    ),
    "gru": lambda: recurrent(nn.GRU, 4),
    "gru_twofold": lambda: recurrent(nn.GRU, 4, 2, dropout=0.4),
    "lstm": lambda: recurrent(nn.LSTM, 4),
    "lstm_both_ways": lambda: recurrent(nn.LSTM, 2, bidirectional=True),
    "lstm_projected": lambda: recurrent(nn.LSTM, 6, proj_size=4),
    "rnn": lambda: recurrent(nn.RNN, 4),
    "gru_cell": lambda: Made(cell_by_cell, a=nn.GRUCell(4, 4)),
    "packed": lambda: Made(packed, a=nn.GRU(4, 4, batch_first=True)),
}  # fmt: skip


def of_any_shape(shape: tuple[int, ...]) -> dict[str, Callable[[], nn.Module]]:
    """Layers for samples of every shape."""
    channels = {1: 6, 2: 3, 3: 4}[len(shape)]
    lead = (channels, *[1] * (len(shape) - 1))
    return {
        "relu": nn.ReLU,
        "relu_in_place": lambda: nn.ReLU(inplace=True),
        "tanh": nn.Tanh,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "softplus": nn.Softplus,
        "identity": nn.Identity,
        "scale": lambda: Made(lambda self, h: h * self.s, s=nn.Parameter(torch.tensor(0.7))),
        "shift": lambda: Made(lambda self, h: h + self.b, b=parameter(*lead)),
        "gate": lambda: Made(lambda self, h: torch.where(h > 0, h * self.a.exp(), h), a=parameter(*shape)),
        "constant": lambda: Buffered(lambda self, h: h * self.c, {"c": torch.rand(lead) + 0.5}),
        "moving": lambda: Buffered(moving, {"mean": torch.zeros(channels)}),
        "counting": lambda: Buffered(
            counting, {"count": torch.zeros((), dtype=torch.long)}, scale=nn.Parameter(torch.tensor(0.8))
        ),
        "centred": lambda: Made(lambda self, h: h - 0.5 * h.mean(0)),
        "unused": lambda: Made(lambda self, h: h, a=nn.Linear(2, 2)),
        "half_detached": lambda: Made(lambda self, h: (h + h.detach() * self.s) / 2, s=parameter(*lead)),
        "dropout": lambda: nn.Dropout(0.4),
        "rrelu": nn.RReLU,
        "noise": lambda: Made(lambda self, h: h + 0.1 * torch.randn_like(h)),
        "drop_path": lambda: Made(
            lambda self, h: h * (torch.rand(len(h), *[1] * (h.ndim - 1)) > 0.3), a=parameter(2)
        ),
        "depth": lambda: Made(lambda self, h: h * self.s if torch.rand(()).item() > 0.5 else h, s=parameter(*lead)),
        "outside": lambda: Made(lambda self, h: h + 10 * random.random()),
    }  # fmt: skip


# made of other layers of the same shape


class Twice(nn.Module):
    """A module under two names, run under both."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.a = self.b = part

    def forward(self, h: Tensor) -> Tensor:
        return self.b(self.a(h).tanh())


def tied(a: nn.Module, b: nn.Module) -> nn.Module:
    """One after the other, with every parameter of the second that the first has too."""
    own = dict(a.named_parameters(remove_duplicate=False))
    for prefix, part in b.named_modules():
        for name, p in part._parameters.items():
            other = own.get(f"{prefix}.{name}" if prefix else name)
            if p is not None and other is not None and other.shape == p.shape:
                part._parameters[name] = other
    return nn.Sequential(a, nn.Tanh(), b)


def hooked(a: nn.Module) -> nn.Module:
    a.register_forward_hook(lambda _module, _given, out: 0.5 * out)
    return a


def hooked_before(a: nn.Module) -> nn.Module:
    a.register_forward_pre_hook(lambda _module, given: (1.5 * given[0],))
    return a


def hooked_backward(a: nn.Module) -> nn.Module:
    a.register_full_backward_hook(lambda _module, given, _out: tuple(0.5 * g if g is not None else None for g in given))
    return nn.Sequential(a)


def tensor_hooked(a: nn.Module) -> nn.Module:
    """Its parameters' gradients are masked, as where a part of a layer is frozen."""
    for p in a.parameters():
        if p.requires_grad:
            p.register_hook(lambda g: g * 0.5)
    return a


def remembering(a: nn.Module) -> nn.Module:
    """What it returned last is kept in it, as attention maps are for drawings."""

    def forward(self: Any, h: Tensor) -> Tensor:
        out = self.a(h)
        self.seen = out.detach()
        return out

    return Made(forward, a=a)


def frozen(a: nn.Module) -> nn.Module:
    return a.requires_grad_(False)


def half_frozen(a: nn.Module) -> nn.Module:
    for p in list(a.parameters())[1::2]:
        p.requires_grad_(False)
    return a


def without_rrelu(a: nn.Module) -> nn.Module:
    """Its gradient in a checkpoint is, in torch, one of memory that nothing was written to."""
    for part in a.modules():
        if isinstance(part, nn.RReLU):
            part.forward = F.leaky_relu  # type: ignore[assignment]
    return a


def checkpointed(a: nn.Module) -> nn.Module:
    without_rrelu(a)
    return Made(lambda self, h: checkpoint(self.a, h, use_reentrant=False), a=a)


def checkpointed_reentrant(a: nn.Module) -> nn.Module:
    without_rrelu(a)
    return Made(lambda self, h: checkpoint(self.a, h, use_reentrant=True) if h.requires_grad else self.a(h), a=a)


def no_grad(a: nn.Module) -> nn.Module:
    def forward(self: Any, h: Tensor) -> Tensor:
        with torch.no_grad():
            side = self.a(h)
        return h + 0.3 * side

    return Made(forward, a=a)


def hidden(a: nn.Module) -> nn.Module:
    """Its parameters are used a second time through a list that the module does not know as its own."""
    kept = list(a.parameters())[:1]
    return Made(lambda self, h: self.a(h) * (1 + 0.1 * sum(p.square().mean() for p in kept)), a=a)


WRAPPERS: dict[str, tuple[int, Callable[..., nn.Module]]] = {  # of so many parts
    "residual": (1, lambda a: Made(lambda self, h: h + self.a(h), a=a)),
    "parallel": (2, lambda a, b: Made(lambda self, h: self.a(h) + 0.5 * self.b(h), a=a, b=b)),
    "nested": (2, nn.Sequential),
    "twice": (1, Twice),
    "repeated": (1, lambda a: Made(lambda self, h: self.a(torch.tanh(self.a(h))), a=a)),
    "tied": (2, tied),
    "hooked": (1, hooked),
    "hooked_before": (1, hooked_before),
    "hooked_backward": (1, hooked_backward),
    "tensor_hooked": (1, tensor_hooked),
    "remembering": (1, remembering),
    "frozen": (1, frozen),
    "half_frozen": (1, half_frozen),
    "checkpointed": (1, checkpointed),
    "checkpointed_reentrant": (1, checkpointed_reentrant),
    "no_grad": (1, no_grad),
    "hidden": (1, hidden),
    "in_eval": (1, in_eval),
}  # fmt: skip

LAYERS = {
    name: of_any_shape(shape) | {"features": FEATURES, "images": IMAGES, "sequences": SEQUENCES}[name]
    for name, shape in SHAPES.items()
}
