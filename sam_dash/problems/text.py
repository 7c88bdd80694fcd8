"""Text that every Python brings: CPython's help topics (`pydoc_data.topics`), to be read character by character.

A sample is `LENGTH` characters and the one that follows. Characters are 27: letters from a to z, of either case, and
one space for each run of anything else. The topics repeat each other, sections within chapters: so each paragraph
is taken once, whole paragraphs are dealt to training or test, samples of a paragraph do not overlap, and a test sample
that occurs anywhere in the training text is left out. The topics differ from one Python to the next, and so do the
samples: `digest` is part of a run's key.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import numpy as np

from sam_dash.problems.arrays import Data, DataError

LETTERS = " abcdefghijklmnopqrstuvwxyz"
LENGTH = 16
TRAIN, TEST = 10_000, 2000
SHARE = 0.79  # of the paragraphs are for training


@lru_cache(maxsize=1)
def digest() -> str:
    """The first 16 hex digits of the topics' SHA-256; "" where this Python has none."""
    try:
        return hashlib.sha256("\0".join(_topics()).encode()).hexdigest()[:16]
    except DataError:
        return ""


def _topics() -> list[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError("this Python has no help topics (pydoc_data): use another data set, such as digits") from None
    return [topics[name] for name in sorted(topics)]


def load() -> Data:
    """Characters (N, LENGTH) from 0 to 26, and the next ones (N,); DataError where there is too little text."""
    found = (_letters(part) for topic in _topics() for part in re.split(r"\n\s*\n", topic))
    paragraphs = [p for p in dict.fromkeys(found) if len(p) > LENGTH]
    order = np.random.RandomState(0).permutation(len(paragraphs))
    cut = int(SHARE * len(paragraphs))
    train, test = ([paragraphs[i] for i in part] for part in (order[:cut], order[cut:]))
    text = "\n".join(train)
    kept = [sample for sample in _samples(test) if sample not in text]
    samples = _samples(train)
    if len(samples) < TRAIN or len(kept) < TEST:
        raise DataError(f"the help topics give {len(samples)} + {len(kept)} samples, expected {TRAIN} + {TEST}")
    return Data(*_arrays(samples[:TRAIN]), *_arrays(kept[:TEST]))


def _letters(text: str) -> str:
    return re.sub("[^a-z]+", " ", text.lower()).strip()


def _samples(paragraphs: list[str]) -> list[str]:
    """All of their pieces of LENGTH + 1 characters, shuffled."""
    step = LENGTH + 1
    cuts = [p[at : at + step] for p in paragraphs for at in range(0, len(p) - step + 1, step)]
    return [cuts[i] for i in np.random.RandomState(1).permutation(len(cuts))]


def _arrays(samples: list[str]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array([[LETTERS.index(c) for c in sample] for sample in samples], np.int64)
    return table[:, :-1], table[:, -1]
