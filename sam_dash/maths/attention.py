"""Attention without a graph as it is with one: torch's fast path rounds, lies to `vmap` and draws masks otherwise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch.backends import mha


@dataclass
class _Users:
    """How many need the fast path off: it is one switch of the process, and threads may step side by side."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    before: bool = True


_USERS = _Users()


@contextmanager
def no_fast_path() -> Iterator[None]:
    """A context without the fast path; the last to leave puts it back."""
    with _USERS.lock:
        if not _USERS.count:
            _USERS.before = mha.get_fastpath_enabled()
            mha.set_fastpath_enabled(False)
        _USERS.count += 1
    try:
        yield
    finally:
        with _USERS.lock:
            _USERS.count -= 1
            if not _USERS.count:
                mha.set_fastpath_enabled(_USERS.before)
