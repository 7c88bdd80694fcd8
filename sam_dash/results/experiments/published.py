"""The numbers that the seed paper publishes, as data: arXiv:2509.18001, read at second hand. Nothing here is measured.

Those of table 3 (GLUE), table 5 (λ) and figures 1 and 2 are not known to us, nor how many seeds an error is of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

SOURCE = (
    "Luo, Harandi, Phung, Le: *Unveiling m-Sharpness Through the Structure of Stochastic Gradient Noise*, NeurIPS "
    "2025, [arXiv:2509.18001](https://arxiv.org/abs/2509.18001); as published, read at second hand"
)


class Number(NamedTuple):
    """A published number: its table, setting and method (a variant's key), the value, and its error where one is."""

    table: int
    setting: str
    method: str
    value: float
    error: float | None = None


def _row(table: int, setting: str, *values: float, errors: Iterable[float | None] = (None, None, None)) -> list[Number]:
    return [
        Number(table, setting, method, value, error)
        for method, value, error in zip(("sgd", "sam", "rwsam"), values, errors, strict=True)
    ]


NUMBERS: tuple[Number, ...] = (
    *_row(1, "ResNet-18, CIFAR-10", 95.62, 95.99, 96.24),
    *_row(1, "ResNet-50, CIFAR-10", 95.64, 96.06, 96.34),
    *_row(1, "WRN-28-10, CIFAR-10", 96.47, 96.91, 97.11),
    *_row(1, "ResNet-18, CIFAR-100", 78.91, 78.90, 79.31),
    *_row(1, "ResNet-50, CIFAR-100", 79.55, 80.31, 80.83),
    *_row(1, "WRN-28-10, CIFAR-100", 81.55, 83.25, 83.52),
    *_row(2, "ResNet-50, ImageNet", 76.67, 77.16, 77.37),
    *_row(2, "ViT-B/16 fine-tuned, CIFAR-10", 98.24, 98.40, 98.58),
    *_row(2, "ViT-B/16 fine-tuned, CIFAR-100", 88.71, 89.63, 89.89),
    *_row(4, "20 % label noise", 87.54, 90.01, 90.34),
    *_row(4, "40 % label noise", 83.66, 86.40, 86.87),
    *_row(4, "60 % label noise", 76.64, 78.79, 81.52),
    *_row(4, "80 % label noise", 46.53, 37.69, 53.17),
    *_row(6, "trace of the gradient covariance", 572.39, 198.40, 177.79, errors=(24.15, 6.20, 5.10)),
)
"""Test accuracies in per cent; in table 2 the base of the transformers is AdamW. Of table 6 neither network nor scale
is known to us: its values are comparable with one another alone.
"""


def of(table: int, about: str = "") -> tuple[Number, ...]:
    """The numbers of a table, or of its settings whose name holds `about`."""
    return tuple(n for n in NUMBERS if n.table == table and about in n.setting)
