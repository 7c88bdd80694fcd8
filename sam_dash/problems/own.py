"""A user's own problem, a Python file with `data`, `network` and `loss`: run, checked, and given as a record.

What a file may say is in docs/problems.md. It is run here, so only where its code may be: in a worker, or on the
command line; never in the Streamlit process, which knows the `Card` that a process of its own makes of it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sam_dash.maths.flat import PerSample
from sam_dash.maths.loss import Score
from sam_dash.problems.arrays import DataError
from sam_dash.problems.card import Stamp, stamps
from sam_dash.problems.listing import refuse_unlisted
from sam_dash.problems.reading import Augment, Reading
from sam_dash.problems.running import beside, opened, running, seeded, source


@dataclass(frozen=True)
class Own:
    """What a problem file says, checked.

    x_train (N, ...), y_train (N, ...), x_test, y_test: float32 or int64 tensors on the CPU. `network(seed)`: the module
    as the file makes it under torch's, NumPy's and Python's generators of that seed, which are then as before.
    `loss`: a `Loss` of `maths.loss`, or a function (outputs, y) -> (n,); `score`: shown beside it, or None.
    `augment(x, generator)`: of a batch of training inputs, or None. `defaults`: of options, by name.
    `classes` C of class labels 0 ... C - 1, 0 where y are none. `outputs`: the shape of a sample's outputs, without the
    samples; () where they are no tensor. `digest`: 16 hex digits of the file, the Python files beside it that it
    imports, and the arrays. `files`: all that was read to make it, the problem file first.
    """

    path: Path
    digest: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    network: Callable[[int], nn.Module]
    loss: PerSample
    loss_title: str
    score: Score | None
    augment: Augment | None
    defaults: Mapping[str, Any]
    classes: int
    outputs: tuple[int, ...]
    files: tuple[Path, ...] = field(default=(), compare=False)


def load(path: str | Path) -> Own:
    """The problem of a file, whose code this runs, in its own folder.

    Raises:
        DataError: in one line, with the file's own line number: what is wrong, and what was expected.
    """
    path = Path(path).expanduser().absolute()
    text = source(path)
    said = Reading(path, text)
    with running(path), opened() as files, seeded(0):
        said.run()
        x_train, y_train, x_test, y_test = arrays = said.arrays()
        network = said.network()
        out = said.outputs(network(0), x_train)
        loss, title = said.loss(out, y_train, y_test)
        classes = said.classes(loss, out, y_train, y_test)
        score, augment = said.score(loss, out, y_train, classes), said.augment(x_train)
    local = beside(path, said.before)
    digest = _digest([text.encode(), *(file.read_bytes() for file in local)], arrays)
    return Own(
        path, digest, x_train, y_train, x_test, y_test, network, loss, title, score, augment, said.defaults(), classes,
        tuple(out.shape[1:]) if isinstance(out, Tensor) else (), (path, *local, *sorted(files - {path, *local})),
    )  # fmt: skip


def open_own(path: Path, digest: str) -> Own:
    """The problem of a file that may be run here, of this digest; the last one is kept.

    Raises:
        DataError: as `load` does, and where it may not be run, or has changed.
    """
    refuse_unlisted(path)
    source(path)
    found = _opened(path)
    if found[0] != stamps(found[1].files):
        _opened.cache_clear()
        found = _opened(path)
    if found[1].digest != digest:
        raise DataError(f"{path.name} has changed since this run was specified; start a new sweep with it")
    return found[1]


@functools.lru_cache(maxsize=1)
def _opened(path: Path) -> tuple[tuple[Stamp, ...], Own]:
    own = load(path)
    return stamps(own.files), own


def _digest(contents: list[bytes], arrays: tuple[Tensor, ...]) -> str:
    out = hashlib.sha256()
    for content in contents:
        out.update(hashlib.sha256(content).digest())
    for a in arrays:
        out.update(f"{a.dtype} {tuple(a.shape)}".encode())
        out.update(a.contiguous().numpy().data.cast("B") if a.numel() else b"")
    return out.hexdigest()[:16]
