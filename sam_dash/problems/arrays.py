"""The user's own arrays: what they are, in words and numbers, and how they are scaled. `npz.py` reads them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sam_dash.problems.architecture import Inputs

NPZ = "npz:"
SCALINGS = {
    "none": "as the data are loaded (the built-in sets are standardised then)",
    "standardise": "less the mean of all training inputs, over their standard deviation, as the built-in images are",
    "features": "each input feature so by itself: for tables",
    "tokens": "not scaled: whole numbers from 0, each a token, for a transformer",
}
SPREADS = 0.2, 5.0  # root mean squares of inputs between which rates and radii of the presets carry over
MAX_MESSAGE = 1000
MAX_TOKEN = 99_999
NO_TOKENS = (
    f"scaling = tokens takes inputs that are whole numbers from 0 to {MAX_TOKEN}, the same token the same number"
)


class DataError(ValueError):
    """Data that cannot be had or used; the message says in a line what to do."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


def one_line(message: object) -> str:
    """A message, in which values of strangers are repeated, as one line of at most `MAX_MESSAGE` characters."""
    text = " ".join(str(message).splitlines())
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"


class Data(NamedTuple):
    """x_train (N, ...), y_train, x_test, y_test; labels are 0 ... classes - 1 (N,), or numbers (N,) or (N, C)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def classes(self) -> int:
        """One more than the largest label; 0 where labels are numbers and no classes."""
        whole = np.issubdtype(self.y_train.dtype, np.integer)
        return int(max(self.y_train.max(), self.y_test.max())) + 1 if whole else 0

    @property
    def outputs(self) -> int:
        """The outputs that a network needs: one a class, or one a number of a label."""
        return self.classes or math.prod(self.y_train.shape[1:])

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, where inputs are such, one more than the largest; else 0."""
        return vocabulary(self) if self.x_train.dtype == np.int64 else 0


@dataclass(frozen=True)
class Contents:
    """What is in a file: the shape of one input, its type and spread in training, classes, and the labels as they are
    trained on.
    """

    shape: tuple[int, ...]
    classes: int
    dtype: str
    low: float
    high: float
    mean: float
    std: float
    y_train: np.ndarray
    y_test: np.ndarray
    digest: str
    vocabulary: int  # where the inputs could be tokens; else 0
    target: str  # where labels are numbers: from where to where, their mean and standard deviation, in words; else ""

    @property
    def outputs(self) -> int:
        """The outputs that a network needs; see `Data.outputs`."""
        return self.classes or math.prod(self.y_train.shape[1:])

    def spread(self) -> str:
        """The inputs in words: "uint8 from 0 to 255, mean 33.3, standard deviation 78.6"."""
        return (
            f"{self.dtype} from {self.low:.4g} to {self.high:.4g}, mean {self.mean:.3g}, "
            f"standard deviation {self.std:.3g}"
        )

    def far(self, scaling: str) -> str:
        """What is wrong with training on them at this scaling, in words; "" if nothing is."""
        if scaling != "none" or SPREADS[0] <= math.hypot(self.mean, self.std) <= SPREADS[1]:
            return ""
        return (
            f"Inputs are not scaled: {self.spread()}. Learning rates and radii are of inputs with mean 0 and standard "
            "deviation 1: choose the scaling standardise (images) or features (tables)."
        )


def sha256(path: Path) -> str:
    """The first 16 hex digits of a file's SHA-256."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _sha256(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def vocabulary(data: Data) -> int:
    """One more than the largest of the inputs, if all are whole numbers from 0 to `MAX_TOKEN`; else 0."""
    both = data.x_train, data.x_test
    if min(x.min() for x in both) < 0 or max(x.max() for x in both) > MAX_TOKEN:
        return 0
    return int(max(x.max() for x in both)) + 1 if all((x == np.floor(x)).all() for x in both) else 0


def arranged(x: np.ndarray, to: Inputs) -> np.ndarray:
    """Inputs (N, ...) as the network takes them."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1) if to.moved else x).reshape(len(x), *to.shape)


def as_trained(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Labels as they are trained on: int64 of classes, float32 of numbers, each column with mean 0 and deviation 1."""
    if data.classes:
        return data.y_train.astype(np.int64), data.y_test.astype(np.int64)
    mean, std = data.y_train.mean(0, np.float64), data.y_train.std(0, np.float64)
    std = np.where(std > 0, std, 1.0)
    return standardised(data.y_train, mean, std), standardised(data.y_test, mean, std)


def scaled(data: Data, scaling: str) -> Data:
    """The data with their inputs scaled, by the training inputs alone; see `SCALINGS`."""
    if scaling in ("none", "tokens"):
        return data
    axis = 0 if scaling == "features" else None
    mean = data.x_train.mean(axis=axis, dtype=np.float64)
    std = data.x_train.std(axis=axis, dtype=np.float64)
    std = np.where(std > 0, std, 1.0)  # what never varies becomes 0
    x_train, x_test = (standardised(x, mean, std) for x in (data.x_train, data.x_test))
    return data._replace(x_train=x_train, x_test=x_test)


def standardised(x: np.ndarray, mean: float | np.ndarray, std: float | np.ndarray) -> np.ndarray:
    """(x - mean) / std as float32, for the built-in sets and the user's own alike."""
    return ((x - mean) / std).astype(np.float32)
