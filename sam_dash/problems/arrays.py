"""The user's own arrays: an .npz is read, checked, described and scaled. Pickles are refused."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

NPZ = "npz:"
SCALINGS = {
    "none": "as the data are loaded (the built-in sets are standardised then)",
    "standardise": "less the mean of all training inputs, over their standard deviation, as the built-in images are",
    "features": "each input feature so by itself: for tables",
}
SPREADS = 0.2, 5.0  # root mean squares of inputs between which rates and radii of the presets carry over
MAX_LABEL = 9999
KINDS = {
    b"\x93NUMPY": "is a single array (.npy)",
    b"\x80": "is a pickle, which is never loaded",
    b"\x1f\x8b": "is a gzip file",
    b"\x89HDF": "is an HDF5 file",
    b"PAR1": "is a Parquet file",
    b"MATLAB": "is a MATLAB file",
}  # by its first bytes
WANTED = "expected an .npz with arrays x_train, y_train, x_test, y_test, as np.savez writes it"


class DataError(ValueError):
    """Data that cannot be had or used; the message says what to do."""


class Data(NamedTuple):
    """x_train (N, ...), y_train (N,), x_test, y_test; labels are 0 ... classes - 1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1


@dataclass(frozen=True)
class Contents:
    """What is in a file: the shape of one input, its type and spread in training, classes, and the labels."""

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


def load_npz(path: Path, data_hash: str = "") -> Data:
    """The user's own arrays ``x_train, y_train, x_test, y_test``, checked; float32 inputs and int64 labels."""
    if data_hash and path.is_file() and sha256(path) != data_hash:
        raise DataError(f"{path.name} has changed since this run was specified; start a new sweep with it")
    data = read(path)
    return Data(
        np.ascontiguousarray(data.x_train, np.float32), data.y_train.astype(np.int64),
        np.ascontiguousarray(data.x_test, np.float32), data.y_test.astype(np.int64),
    )  # fmt: skip


def contents(path: Path) -> Contents:
    """What a file of arrays holds, without keeping the inputs; DataError if it cannot be used."""
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}: {WANTED}")
    stat = path.stat()
    return _contents(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _contents(path: Path, _changed: int, _size: int) -> Contents:
    data = read(path)
    x = data.x_train
    return Contents(
        x.shape[1:], data.classes, str(x.dtype), float(x.min()), float(x.max()), float(x.mean(dtype=np.float64)),
        float(x.std(dtype=np.float64)), data.y_train.astype(np.int64), data.y_test.astype(np.int64), sha256(path),
    )  # fmt: skip


def read(path: Path) -> Data:
    """The four arrays as they are in the file, checked; DataError says what the file is and what was expected."""
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}: {WANTED}")
    name = path.name
    try:
        if strange := _kind(path):
            raise DataError(f"{name} cannot be read as a plain .npz: it {strange}; {WANTED}")
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [k for k in Data._fields if k not in file.files]
            if missing:
                raise DataError(
                    f"{name}: missing array {missing[0]!r}; found {', '.join(file.files) or 'none'}; {WANTED}"
                )
            data = Data(*(file[k] for k in Data._fields))
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds on torn and forged files
        why = "it holds pickled objects, which are never loaded" if "pickle" in str(error) else str(error)
        raise DataError(f"{name} cannot be read as a plain .npz: {why}; {WANTED}") from None
    for part in ("train", "test"):
        _check(name, part, getattr(data, f"x_{part}"), getattr(data, f"y_{part}"))
    if data.x_train.shape[1:] != data.x_test.shape[1:]:
        raise DataError(f"{name}: x_train {data.x_train.shape[1:]} and x_test {data.x_test.shape[1:]} differ in shape")
    if len(np.unique(data.y_train)) < 2:
        raise DataError(f"{name}: y_train has the label {data.y_train[0]} only: expected at least two classes")
    return data


def _check(name: str, part: str, x: np.ndarray, y: np.ndarray) -> None:
    if x.ndim < 2 or y.shape != x.shape[:1] or x.size == 0:
        raise DataError(f"{name}: expected x_{part} (N, ...) and y_{part} (N,) of one length, got {x.shape}, {y.shape}")
    if not np.issubdtype(x.dtype, np.number) or np.iscomplexobj(x):
        raise DataError(f"{name}: x_{part} must be finite real numbers, got {x.dtype}")
    with np.errstate(over="ignore"):
        if not np.isfinite(x.astype(np.float32)).all():
            raise DataError(f"{name}: x_{part} must be finite real numbers; it holds NaN, infinity or more than 3e38")
    if y.dtype.kind in "US":
        raise DataError(
            f"{name}: y_{part} holds text, such as {str(y[0])!r}: expected integer labels from 0; "
            "np.unique(y, return_inverse=True)[1] gives them"
        )
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() > MAX_LABEL:
        raise DataError(f"{name}: y_{part} must be integer labels from 0 to {MAX_LABEL}, got {y.dtype}")


def _kind(path: Path) -> str:
    """What a file that is no zip looks like; "" for a zip, and for what nothing is known of."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK"):
        return ""
    if not start:
        return "is empty"
    for magic, kind in KINDS.items():
        if start.startswith(magic):
            return kind
    text = start.isascii() and b"\0" not in start
    line = start.split(b"\n")[0].strip()[:40].decode("ascii", "replace")
    return f"is text ({line!r} …), as a .csv is" if text else "is no zip archive"


def scaled(data: Data, scaling: str) -> Data:
    """The data with their inputs scaled, by the training inputs alone; see `SCALINGS`."""
    if scaling == "none":
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
