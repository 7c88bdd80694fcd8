"""Strangers' arrays: an .npz is read and checked, before it is unpacked too. Pickles are refused."""

from __future__ import annotations

import io
import math
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from sam_dash.problems.arrays import NO_TOKENS, Contents, Data, DataError, as_trained, sha256, vocabulary
from sam_dash.problems.layouts import LayoutError, assigned, split

MAX_LABEL = 9999
MAX_MEMBERS, HEADER = 100, 16_384  # arrays; bytes that an array begins with
MAX_UNPACKED, MAX_RATIO, LARGE = 4 * 10**9, 50, 10**8  # bytes; unpacked against packed, where it is large
KINDS = {
    b"\x93NUMPY": "is a single array (.npy)",
    b"\x80": "is a pickle, which is never loaded",
    b"\x1f\x8b": "is a gzip file",
    b"\x89HDF": "is an HDF5 file",
    b"PAR1": "is a Parquet file",
    b"MATLAB": "is a MATLAB file",
}  # by its first bytes
WANTED = "expected an .npz with arrays x_train, y_train, x_test, y_test (or x and y), as np.savez writes it"


def load_npz(path: Path, data_hash: str = "", *, tokens: bool = False) -> Data:
    """The user's own arrays ``x_train, y_train, x_test, y_test``, checked; float32 inputs (int64 `tokens`) and int64
    labels, or numbers, float32, standardised by the training samples.
    """
    if data_hash and path.is_file() and sha256(path) != data_hash:
        raise DataError(f"{path.name} has changed since this run was specified; start a new sweep with it")
    data = read(path)
    if tokens and not vocabulary(data):
        raise DataError(f"{path.name}: {NO_TOKENS}")
    kind = np.int64 if tokens else np.float32
    y_train, y_test = as_trained(data)
    return Data(np.ascontiguousarray(data.x_train, kind), y_train, np.ascontiguousarray(data.x_test, kind), y_test)


def contents(path: Path) -> Contents:
    """What a file of arrays holds, without keeping the inputs; DataError if it cannot be used."""
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}: {WANTED}")
    stat = path.stat()
    return _contents(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _contents(path: Path, _changed: int, _size: int) -> Contents:
    data = read(path)
    x, y = data.x_train, data.y_train
    told = f"{y.min():.4g} to {y.max():.4g}, mean {y.mean():.3g}, standard deviation {y.std():.3g}"
    return Contents(
        x.shape[1:], data.classes, str(x.dtype), float(x.min()), float(x.max()), float(x.mean(dtype=np.float64)),
        float(x.std(dtype=np.float64)), *as_trained(data), sha256(path), vocabulary(data), "" if data.classes else told,
    )  # fmt: skip


def check_sizes(name: str, archive: ZipFile) -> None:
    """Refuse, before anything is unpacked, arrays that are too large, packed as none is, or not what they say."""
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise DataError(f"{name} holds {len(members)} arrays; at most {MAX_MEMBERS}; {WANTED}")
    packed, size = (sum(getattr(m, which) for m in members) for which in ("compress_size", "file_size"))
    if size > MAX_UNPACKED or size > max(LARGE, MAX_RATIO * packed):
        raise DataError(
            f"{name} unpacks to {size / 1e6:.0f} MB, {size / max(1, packed):.0f} times its size; at most "
            f"{MAX_UNPACKED / 1e6:.0f} MB, and {MAX_RATIO} times if that is over {LARGE / 1e6:.0f} MB"
        )
    for member in members:
        with archive.open(member) as file:
            start = io.BytesIO(file.read(HEADER))
            if not start.getvalue().startswith(b"\x93NUMPY"):
                continue
            version = np.lib.format.read_magic(start)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(start)
            told = math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and told > member.file_size:
                raise DataError(f"{name}: {member.filename} says it has {told:.3g} bytes, and has {member.file_size}")


def read(path: Path) -> Data:
    """The four arrays as they are in the file, checked; DataError says what the file is and what was expected."""
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}: {WANTED}")
    name = path.name
    try:
        if strange := _kind(path):
            raise DataError(f"{name} cannot be read as a plain .npz: it {strange}; {WANTED}")
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            check_sizes(name, file.zip)
            data = _data(name, file)
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds on torn and forged files
        why = "it holds pickled objects, which are never loaded" if "pickle" in str(error) else str(error)
        raise DataError(f"{name} cannot be read as a plain .npz: {why}; {WANTED}") from None
    if data.x_train.shape[1:] != data.x_test.shape[1:]:
        raise DataError(f"{name}: x_train {data.x_train.shape[1:]} and x_test {data.x_test.shape[1:]} differ in shape")
    if data.y_train.dtype.kind != data.y_test.dtype.kind or data.y_train.shape[1:] != data.y_test.shape[1:]:
        both = [f"{y.dtype} {y.shape}" for y in (data.y_train, data.y_test)]
        raise DataError(f"{name}: y_train is {both[0]} and y_test {both[1]}: expected the same of both")
    if not data.classes and all((y == np.floor(y)).all() for y in (data.y_train, data.y_test)):
        raise DataError(
            f"{name}: its labels are whole numbers as {data.y_train.dtype}: y.astype(int) makes them class labels, "
            "(y - y.mean()) / y.std() numbers to predict"
        )
    if len(np.unique(data.y_train)) < 2:
        raise DataError(f"{name}: y_train has the label {data.y_train.flat[0]} only: expected at least two values")
    return data


def _data(name: str, file: Any) -> Data:
    """The arrays of an open .npz by the roles of their names, checked."""
    try:
        names = assigned(file.files)
    except LayoutError as error:
        raise DataError(f"{name}: {error}; {WANTED}") from None
    pairs = []
    for part in dict.fromkeys(part for _, part in names):
        named = names["x", part], names["y", part]
        x, y = (file[array] for array in named)
        y = y[:, 0] if y.shape[1:] == (1,) else y
        _check(name, *named, x, y)
        pairs.append((x, y))
    return Data(*pairs[0], *pairs[1]) if len(pairs) > 1 else Data(*split(*pairs[0]))


def _check(name: str, x_name: str, y_name: str, x: np.ndarray, y: np.ndarray) -> None:
    if y.ndim == 2 and len(y) and ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all():
        raise DataError(
            f"{name}: {y_name} {y.shape} is one-hot: expected integer labels from 0, ({len(y)},); np.argmax(y, axis=1) "
            "gives them"
        )
    numbers = y.dtype.kind == "f" and y.ndim == 2
    if x.ndim < 2 or y.shape[:1] != x.shape[:1] or (y.ndim != 1 and not numbers) or x.size == 0 or y.size == 0:
        raise DataError(f"{name}: expected {x_name} (N, ...) and {y_name} (N,) of one length, got {x.shape}, {y.shape}")
    if not np.issubdtype(x.dtype, np.number) or np.iscomplexobj(x):
        raise DataError(f"{name}: {x_name} must be finite real numbers, got {x.dtype}")
    with np.errstate(over="ignore"):
        if not np.isfinite(x.astype(np.float32)).all():
            raise DataError(f"{name}: {x_name} must be finite real numbers; it holds NaN, infinity or more than 3e38")
    if y.dtype.kind in "US":
        raise DataError(
            f"{name}: {y_name} holds text, such as {str(y[0])!r}: expected integer labels from 0; "
            "np.unique(y, return_inverse=True)[1] gives them"
        )
    if y.dtype.kind == "f":
        if not np.isfinite(y).all():
            raise DataError(f"{name}: {y_name} must be finite numbers; it holds NaN or infinity")
        return  # numbers to predict
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() > MAX_LABEL:
        found = f" from {y.min()} to {y.max()}" if np.issubdtype(y.dtype, np.integer) else ""
        raise DataError(f"{name}: {y_name} must be integer labels from 0 to {MAX_LABEL}, got {y.dtype}{found}")


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
