"""Losses of n samples in d weights with gradients and Hessians written out, vectorised over leading axes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Problem(ABC):
    """A loss f = mean_i f_i of samples `a` (n, k) with targets `b` (n,), at weights x (..., d)."""

    a: Array
    b: Array
    title: ClassVar[str]

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(self.b)

    @property
    def d(self) -> int:
        """The number of weights."""
        return self.a.shape[1]

    @abstractmethod
    def losses(self, x: Array) -> Array:
        """f_i of every sample.  (..., d) -> (..., n)."""

    @abstractmethod
    def grads(self, x: Array, index: Index) -> Array:
        """The gradients of the samples numbered `index`.  (..., d), (..., k) -> (..., k, d)."""

    @abstractmethod
    def hessians(self, x: Array) -> Array:
        """The Hessians of all samples.  (..., d) -> (..., n, d, d)."""

    def all_grads(self, x: Array) -> Array:
        """The gradients of all samples.  (..., d) -> (..., n, d)."""
        return self.grads(x, np.broadcast_to(np.arange(self.n), (*x.shape[:-1], self.n)))

    def loss(self, x: Array) -> Array:
        """f.  (..., d) -> (...)."""
        return np.asarray(self.losses(x).mean(-1))

    def noise(self, x: Array) -> Array:
        """tr V, V the covariance (1/n) of the samples' gradients.  (..., d) -> (...)."""
        g = self.all_grads(x)
        return np.asarray(((g - g.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1))


class Linear(Problem):
    """f_i(x) = l(a_i . x, b_i)."""

    @abstractmethod
    def slope(self, z: Array, b: Array) -> Array:
        """dl/dz."""

    @abstractmethod
    def bend(self, z: Array, b: Array) -> Array:
        """d2l/dz2."""

    def grads(self, x: Array, index: Index) -> Array:
        """See `Problem.grads`."""
        a = self.a[index]
        return a * self.slope(np.einsum("...kd,...d->...k", a, x), self.b[index])[..., None]

    def hessians(self, x: Array) -> Array:
        """See `Problem.hessians`."""
        outer = self.a[:, :, None] * self.a[:, None, :]
        return self.bend(x @ self.a.T, self.b)[..., None, None] * outer


class LeastSquares(Linear):
    """f_i(x) = (a_i . x - b_i)^2 / 2."""

    title = "Least squares"

    def losses(self, x: Array) -> Array:
        """See `Problem.losses`."""
        return (x @ self.a.T - self.b) ** 2 / 2

    def slope(self, z: Array, b: Array) -> Array:
        """See `Linear.slope`."""
        return z - b

    def bend(self, z: Array, b: Array) -> Array:
        """See `Linear.bend`."""
        return np.ones(np.broadcast_shapes(z.shape, b.shape))


class Logistic(Linear):
    """f_i(x) = log(1 + exp(-b_i a_i . x)), b_i = +-1."""

    title = "Logistic regression"

    def losses(self, x: Array) -> Array:
        """See `Problem.losses`."""
        return np.logaddexp(0, -self.b * (x @ self.a.T))

    def slope(self, z: Array, b: Array) -> Array:
        """See `Linear.slope`."""
        return -b / (1 + np.exp(b * z))

    def bend(self, z: Array, b: Array) -> Array:
        """See `Linear.bend`."""
        return 1 / (2 + np.exp(z) + np.exp(-z))


class TwoWeights(Problem):
    """f_i(u, v) = (v tanh(u a_i) - b_i)^2 / 2: a network of one hidden unit, a (n, 1)."""

    title = "Network of two weights"

    @property
    def d(self) -> int:
        """u and v."""
        return 2

    def losses(self, x: Array) -> Array:
        """See `Problem.losses`."""
        u, v = x[..., :1], x[..., 1:]
        return (v * np.tanh(u * self.a[:, 0]) - self.b) ** 2 / 2

    def grads(self, x: Array, index: Index) -> Array:
        """See `Problem.grads`."""
        u, v, a = x[..., :1], x[..., 1:], self.a[index, 0]
        t = np.tanh(u * a)
        e = v * t - self.b[index]
        return np.stack([e * v * (1 - t * t) * a, e * t], -1)

    def hessians(self, x: Array) -> Array:
        """See `Problem.hessians`."""
        u, v, a = x[..., :1], x[..., 1:], self.a[:, 0]
        t = np.tanh(u * a)
        s = (1 - t * t) * a  # dt/du
        e = v * t - self.b
        uu, uv = (v * s) ** 2 - 2 * e * v * t * s * a, v * s * t + e * s
        return np.stack([np.stack([uu, uv], -1), np.stack([uv, t * t], -1)], -2)


def design(spectrum: Sequence[float], n: int, rng: np.random.Generator) -> Array:
    """Inputs a (n, d) with mean_i a_i a_i^T = diag(spectrum) exactly; n > d = len(spectrum)."""
    q, _ = np.linalg.qr(rng.normal(size=(n, len(spectrum))))
    return q * np.sqrt(n * np.asarray(spectrum))


def least_squares(spectrum: Sequence[float], n: int, noise: float, seed: int = 0) -> LeastSquares:
    """Least squares whose Hessian is diag(spectrum) and whose minimiser is 0, where the residuals have the mean square
    noise^2.
    """
    rng = np.random.default_rng(seed)
    a = design(spectrum, n, rng)
    r = rng.normal(size=n)
    r -= a @ np.linalg.lstsq(a, r, rcond=None)[0]
    return LeastSquares(a, noise * r / np.sqrt(np.mean(r**2)))


def logistic(spectrum: Sequence[float], n: int, noise: float, seed: int = 0) -> Logistic:
    """Logistic regression on such inputs, labelled by the sign of a_i . (1, ..., 1) + noise N(0, 1)."""
    rng = np.random.default_rng(seed)
    a = design(spectrum, n, rng)
    return Logistic(a, np.where(a.sum(1) + noise * rng.normal(size=n) > 0, 1.0, -1.0))


def two_weights(n: int, noise: float, seed: int = 0) -> TwoWeights:
    """The network on inputs N(0, 1) with the targets tanh(a_i) + noise N(0, 1)."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, 1))
    return TwoWeights(a, np.tanh(a[:, 0]) + noise * rng.normal(size=n))
