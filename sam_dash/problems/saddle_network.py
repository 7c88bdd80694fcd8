"""A two-layer network near the saddle that training from small weights starts at.

    f(x) = v tanh(U x),   l_i = (f(x_i) - y_i)^2 / 2,   U (K, D) and v (K,) without biases

At U = 0, v = 0 every gradient vanishes, by symmetry, and the Hessian couples U with v only: its eigenvalues are
+-|c|, c = mean_i y_i x_i, K times each, and 0. So lambda_1 = -|c|, and USAM's critical radius is 1/|c|.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import hessian, vmap

from sam_dash.maths.oracle import Batch
from sam_dash.problems.landscapes import NETWORK_SAMPLES
from sam_dash.problems.stack import stream, torch_stream

INPUTS, HIDDEN, SAMPLES = 6, 4, NETWORK_SAMPLES
NOISE = 0.5  # standard deviation of y about the line that made it
ESCAPED = 0.9  # a run has left the saddle once its loss is below this share of the loss there


def data() -> Batch:
    """x (N, D), standard normal, and y (N,), linear in x with noise: the same every time."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, INPUTS, generator=generator)
    slope = torch.randn(INPUTS, generator=generator)
    return x, x @ (slope / slope.norm()) + NOISE * torch.randn(SAMPLES, generator=generator)


def losses(w: Tensor, batch: Batch) -> Tensor:
    """Half the squared error of each sample.  (d,) -> (n,)."""
    x, y = batch
    U, v = w[: HIDDEN * INPUTS].view(HIDDEN, INPUTS), w[HIDDEN * INPUTS :]
    return ((x @ U.T).tanh() @ v - y) ** 2 / 2


def starts(seeds: list[int], radius: float) -> Tensor:
    """Weights (S, d) at that distance from the saddle, in a direction of each seed's own."""
    d = HIDDEN * (INPUTS + 1)
    W = torch.stack([torch.randn(d, generator=torch_stream(seed, "init")) for seed in seeds])
    return radius * W / W.norm(dim=1, keepdim=True)


def orders(seeds: list[int], batch: int, steps: int) -> Tensor:
    """The samples (steps, S, B) of every step: a fresh permutation an epoch, its incomplete last batch dropped."""
    per_epoch = SAMPLES // batch
    epochs = -(-steps // per_epoch)
    rows = []
    for seed in seeds:
        generator = stream(seed, "order")
        order = torch.stack([torch.from_numpy(generator.permutation(SAMPLES)) for _ in range(epochs)])
        rows.append(order[:, : per_epoch * batch].reshape(-1, batch)[:steps])
    return torch.stack(rows, 1)


def curvature() -> float:
    """|lambda_1| = |c| at the saddle."""
    x, y = data()
    return float((y[:, None] * x).mean(0).norm())


def mean_critical_radius(batch: int) -> float:
    """The rho above which USAM's *mean* step on random batches of that size attracts: E[H_B] + rho E[H_B^2] >= 0.

    E[H_B^2] = H^2 + Var/B (N - B)/(N - 1), H_B the Hessian of a batch: noise adds to the push back, so that this is
    below 1/|lambda_1| unless B = N.
    """
    x, y = (a.double() for a in data())
    w = x.new_zeros(HIDDEN * (INPUTS + 1))
    of_each = vmap(lambda a, b: hessian(lambda w: losses(w, (a[None], b[None]))[0])(w))(x, y)
    H = of_each.mean(0)
    spread = (of_each @ of_each).mean(0) - H @ H
    square = H @ H + spread / batch * (SAMPLES - batch) / (SAMPLES - 1)
    low, high = 0.0, 2 / curvature()
    for _ in range(60):
        middle = (low + high) / 2
        attracts = float(torch.linalg.eigvalsh(H + middle * square)[0]) > -1e-10
        low, high = (low, middle) if attracts else (middle, high)
    return high
