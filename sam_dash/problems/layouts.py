"""The arrays of an .npz by their names: which are inputs, which labels, and of which part, as people save them.

x_train, y_train, x_test, y_test          Keras; also X_train, train_x, trainX, ...
train_images, train_labels, val_images, ...   MedMNIST; what is for validation is left out where there is a test part
x, y; data, target; images, labels; ...    no parts: `split` makes them
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

INPUTS = {"x", "data", "image", "images", "input", "inputs", "features", "samples"}
LABELS = {"y", "label", "labels", "target", "targets"}
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val",
         "validation": "val", "": ""}  # fmt: skip
SHARE = 0.8  # of the samples are for training, where they come in one part
Found = dict[tuple[str, str], str]


class LayoutError(ValueError):
    """Names that say nothing, or the same twice."""


def role(name: str) -> tuple[str, str] | None:
    """What an array is by its name: ("x" or "y", part); None where that is not known."""
    words = re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", name).lower())
    for at, part in enumerate(words):
        rest = words[:at] + words[at + 1 :]
        if part in PARTS and len(rest) == 1:
            return _kind(rest[0], PARTS[part])
    if len(words) == 1:
        joined = re.fullmatch("(.*?)(train|test|val)(.*)", words[0])
        return _kind(joined[1] + joined[3], joined[2]) if joined else _kind(words[0], "")
    return None


def _kind(word: str, part: str) -> tuple[str, str] | None:
    return ("x", part) if word in INPUTS else ("y", part) if word in LABELS else None


def assigned(names: Iterable[str]) -> Found:
    """The name of the array of each kind and part; LayoutError where two are of the same, or one is missing.

    Either of training and test (for which validation may stand), or of neither.
    """
    names = list(names)
    found: Found = {}
    for name in names:
        if (what := role(name)) is not None:
            if what in found:
                raise LayoutError(f"arrays {found[what]!r} and {name!r} say the same")
            found[what] = name
    parts = {part for _, part in found}
    if "train" not in parts and "test" not in parts and "" in parts:
        wanted = [("x", ""), ("y", "")]
    else:
        test = "val" if "test" not in parts and "val" in parts else "test"
        wanted = [(kind, part) for part in ("train", test) for kind in "xy"]
    for kind, part in wanted:
        if (kind, part) not in found:
            usual = f"{kind}_{part}" if part else kind
            raise LayoutError(f"missing array {usual!r}; found {', '.join(names) or 'none'}")
    return {(kind, "test" if part == "val" else part): found[kind, part] for kind, part in wanted}


def split(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x_train, y_train, x_test, y_test: four fifths of the samples for training, shuffled, the same every time.

    Equal inputs stay on one side.
    """
    groups: dict[bytes, int] = {}
    of = np.array([groups.setdefault(row.tobytes(), len(groups)) for row in np.ascontiguousarray(x)])
    place = np.random.RandomState(0).permutation(len(groups))[of]
    order = np.argsort(place, kind="stable")
    cut = int((place < round(SHARE * len(groups))).sum())
    train, test = order[:cut], order[cut:]
    return x[train], y[train], x[test], y[test]
