"""What things are called: quantities, variants, cells, numbers. The same on every page and figure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from typing import Any

from sam_dash import variants
from sam_dash.maths.contract import Knob
from sam_dash.runs import recorded
from sam_dash.runs.measure import At, Quantity
from sam_dash.runs.measures import MEASURES

GAPS = {
    "gap_acc": Quantity(
        "Accuracy gap", "Accuracy gap", "generalisation gap: train accuracy (labels trained on) minus test accuracy"
    ),
    "gap_loss": Quantity("Loss gap", "Loss gap", "generalisation gap: test loss minus train loss"),
}
"""Worked out from what was measured, by `sam_dash.results.numbers.derived`."""

SHARPNESS = ("tr_H", "lam_max", "tr_V", "test_acc", "train_loss")
RW_SAM = (*SHARPNESS, "ess", "eps_norm")
PANELS = (*SHARPNESS[:4], "gap_acc", "train_loss")
"""The panels of the page Sharpness: one row."""
SERIES = tuple(recorded.SERIES)
"""Recorded at every step; a figure over cells shows their mean over training."""
TENTHS = recorded.TENTHS
RECORDED = (*SERIES, *TENTHS)
"""All that is recorded at every step."""


SCORE = re.compile(r"(?P<stem>train|clean_train|test|gap)_(?P<kind>score|error)_(?P<name>.+)")
SCORED = {
    "train": ("Train {}", "score on the training samples with the labels trained on"),
    "clean_train": ("Clean-label {}", "score on the training samples with their true labels"),
    "test": ("Test {}", "score on the test samples"),
    "gap": ("{} gap", "generalisation gap: how much worse the score is on the test samples than in training"),
}
"""How the scores of a problem that are no accuracy are called (see `sam_dash.maths.loss.Score`), and what they are."""


def _quantities() -> dict[str, Quantity]:
    """All of them, the most asked for first."""
    found = recorded.SCORES | GAPS | {k: q for m in MEASURES.values() for k, q in m.quantities.items()}
    found |= recorded.QUANTITIES
    return {key: found[key] for key in (*SHARPNESS, *found)}


QUANTITIES = _quantities()


def quantity(key: str) -> Quantity:
    """The names of a quantity; those not listed (tr_V@16, lam_max_2, ...) are built from their key."""
    if key in QUANTITIES:
        return QUANTITIES[key]
    base, at, size = key.partition("@")
    q = QUANTITIES.get(base)
    if at and q is not None:
        of, at_ = size.replace("=", " "), q.at or At("", f"{q.name}, {{}}", f"{q.html}, {{}}", q.help)
        return Quantity(at_.name.format(of), at_.html.format(of), at_.help.format(of))
    if found := SCORE.fullmatch(key):
        name, about = (text.format(found["name"]) for text in SCORED[found["stem"]])
        less = found["kind"] == "error" or found["stem"] == "gap"
        return Quantity(name, name, f"{about}; {'less' if less else 'more'} is better")
    head, _, rank = key.rpartition("_")
    if head == "lam_max" and rank.isdecimal():
        return Quantity(f"λ_{rank}", f"λ<sub>{rank}</sub>", f"eigenvalue number {rank} of the Hessian")
    return Quantity(key, key, key)


def is_score(key: str) -> bool:
    """Whether a quantity is a loss or a score, a mean over samples, and not an estimate."""
    return key.endswith(("_acc", "_loss")) or SCORE.fullmatch(key) is not None


def scored(key: str, have: Collection[str]) -> str:
    """The score of a problem in the place of an accuracy, of the quantities that it has: "test_acc" is
    "test_error_RMSE" of a regression, and its loss where it has no score.
    """
    stem, _, of = key.rpartition("_")
    if of != "acc" or key in have:
        return key
    own = sorted(q for q in have if q.startswith((f"{stem}_score_", f"{stem}_error_")))
    return own[0] if own else f"{stem}_loss" if f"{stem}_loss" in have else key


def all_scored(keys: Iterable[str], have: Collection[str]) -> list[str]:
    """`scored` of each, each once."""
    return list(dict.fromkeys(scored(key, have) for key in keys))


def is_fraction(key: str) -> bool:
    """Whether a quantity is stored as a fraction and shown in per cent."""
    return key.partition("@")[0].endswith("_acc")


def within(key: str) -> str:
    """A quantity's name within a sentence: "test accuracy", "test RMSE", "tr(H)"."""
    name = quantity(key).name
    return name[0].lower() + name[1:]


def labelled(key: str, difference: bool = False) -> str:
    """A quantity's name with the unit that `in_unit` gives it: "Test accuracy (%)", "tr(H)"."""
    return quantity(key).name + unit(key, difference)


def unit(key: str, difference: bool = False) -> str:
    """What follows the name of a column: " (%)", of a difference " (points)", else nothing."""
    return (" (points)" if difference else " (%)") if is_fraction(key) else ""


def in_unit(key: str, value: float) -> float:
    """A value, or a difference of two, in its unit for a table: accuracies in per cent."""
    return 100 * value if is_fraction(key) else value


def p_text(p: float) -> str:
    """A p-value, two digits, never "0"."""
    return "–" if math.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.2g}"


LESS = ("tr_H", "lam_max", "tr_V", "test_loss", "gap_acc", "gap_loss")
"""Quantities of which less is better; of the train loss that is not so where labels are wrong."""


def better(key: str) -> int:
    """1 where more of a quantity is better, -1 where less is, 0 where neither is said."""
    if (found := SCORE.fullmatch(key)) and found["stem"] != "train":
        return -1 if found["kind"] == "error" or found["stem"] == "gap" else 1
    return 1 if key in ("test_acc", "clean_train_acc") else -1 if key in LESS else 0


def title(variant: str) -> str:
    """A variant's printed title; the key itself for one this version does not know."""
    return variants.REGISTRY[variant].title if variant in variants.REGISTRY else variant


def cell_name(variant: str, m: float | None, batch: int, extra: str = "") -> str:
    """For example "SAM, m = 4", "SAM, m = B = 64", "SGD"; "SAM" of all its m, which is None."""
    known = variants.REGISTRY.get(variant)
    name = title(variant)
    if known is not None and known.m_axis and m is not None and math.isfinite(m):
        name = f"{name}, m = B = {batch}" if m == batch else f"{name}, m = {m:g}"
    return f"{name}, {extra}" if extra else name


def number(value: float, digits: int = 3, keep: bool = False) -> str:
    """Significant digits with a true minus sign, trailing zeros only if `keep`; "–" for a missing one."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}".replace("-", "\N{MINUS SIGN}")
    text = f"{value:#.{digits}g}" if keep else f"{value:.{digits}g}"
    if "e" in text:
        text = f"{value:.0f}"
    return text.removesuffix(".").replace("-", "\N{MINUS SIGN}")


def show(key: str, value: float, difference: bool = False) -> str:
    """A value of a quantity in its unit: 85.9 %, 24.6; a difference of accuracies is in percentage points."""
    if is_fraction(key):
        unit = "points" if difference else "%"
        return "–" if not math.isfinite(value) else f"{100 * value:z.1f} {unit}".replace("-", "\N{MINUS SIGN}")
    return number(value, keep=True)


def points(share: float, sign: str = "+", digits: int = 1) -> str:
    """A difference of shares in percentage points, without the word: "+1.3"."""
    return f"{100 * share:{sign}z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def per_cent(share: float, digits: int = 0) -> str:
    """A share in a sentence: "30 %"."""
    return f"{100 * share:.{digits}f} %"


def span(shares: Iterable[float]) -> str:
    """From the least to the greatest share: "30 % to 75 %"."""
    values = list(shares)
    low, high = per_cent(min(values)), per_cent(max(values))
    return low if low == high else f"{low} to {high}"


def duration(seconds: float) -> str:
    """For example "8 s", "1 min 20 s", "2 h 5 min"."""
    s = round(seconds)
    if s < 1:
        return "under 1 s"
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min" + (f" {s % 60} s" if s % 60 else "")
    return f"{s // 3600} h {s % 3600 // 60} min"


def knobs() -> dict[str, Knob]:
    """Every knob of every variant, by name."""
    return {name: k for v in variants.REGISTRY.values() for name, k in v.knobs.items()}


def knob_text(values: dict[str, Any]) -> str:
    """For example "ρ = 0.1, λ = 0.5", with the symbols of the registry."""
    symbols = {name: k.symbol for name, k in knobs().items()}
    parts = []
    for name, value in values.items():
        shown = number(value) if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else value
        parts.append(f"{symbols.get(name, name)} = {shown}")
    return ", ".join(parts)
