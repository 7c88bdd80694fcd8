"""Text to values and values to text: seeds, numbers, lists, knobs. The form, its links and the command line share it.

What is written here is read back as the same values, whatever they are (decision 8). A refusal is a `SpecError` that
names the word and what was expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from sam_dash.maths.contract import Knob
from sam_dash.problems.problem import SpecError

DEFAULT = "default"  # in the place of a knob's values: every variant at its own default
MAX_SEEDS = 5000
DIGITS = re.compile(r"[0-9]{1,15}")
WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
SEEDS = "expected seeds such as 0-4 or 3, 7, 10-14 (a number alone, such as 5, is how many: 0-4; the seed 5 alone: 5-5)"
SEED = Knob("seed", "what is random about a run", 0, 2**31 - 1, int)
SIZE = Knob("m", "samples of a micro-batch: a divisor of the batch size", 1, 4096, int)


def words(text: str) -> tuple[str, ...]:
    """The pieces of a list separated by commas, semicolons or blanks."""
    return tuple(w for w in re.split(r"[,;\s]+", text.strip()) if w)


def value(name: str, knob: Knob, text: str) -> Any:
    """The one value of a knob, or of a field, that a text says; SpecError naming the word otherwise."""
    word = text.strip()
    try:
        return knob.check(name, _read(knob, word))
    except ValueError:
        pass
    raise SpecError(f"{name} = {short(word)}: expected {expected(knob)}") from None


def values(name: str, knob: Knob, text: str) -> tuple[Any, ...]:
    """The values of a knob that a text lists, each once: "0.05, 0.1"; () for "default"."""
    found = words(text)
    if not found:
        raise SpecError(f"{name} is empty: expected {expected(knob)}; several are separated by commas")
    if found == (DEFAULT,) and DEFAULT not in knob.choices:
        return ()
    return tuple(dict.fromkeys(value(name, knob, word) for word in found))


def text(value: Any) -> str:
    """The shortest text that `value` reads as this number, choice or truth value."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def texts(values: Iterable[Any], between: str = ", ") -> str:
    """The text that `values` reads as these; "default" for none."""
    return between.join(map(text, values)) or DEFAULT


def expected(knob: Knob) -> str:
    """What a knob takes, in words: "a whole number in [1, 4096]", "one of cosine, constant", "true or false"."""
    if knob.choices:
        return f"one of {', '.join(map(text, knob.choices))}"
    if knob.kind is bool:
        return "true or false"
    kind = "a whole number" if knob.kind is int else "a number"
    return f"{kind} in [{knob.low:g}, {knob.high:g}]" if math.isfinite(knob.high) else f"{kind} from {knob.low:g} on"


def sentence(text: str) -> str:
    """A text that begins with a capital, unless with a symbol: ρ stays ρ."""
    return text[0].upper() + text[1:] if text[:1].isascii() else text


def seeds(text: str) -> tuple[int, ...]:
    """Seeds as values and ranges, "0-4, 7"; a number alone is how many: "3" is 0, 1, 2."""
    tidy = re.sub(r"\s*[-–]\s*", "-", text.strip())
    out: dict[int, None] = {}
    found = words(tidy)
    for word in found:
        ends = word.split("-")
        if not 1 <= len(ends) <= 2 or not all(DIGITS.fullmatch(end) for end in ends):
            raise SpecError(f"seeds = {short(text)}: {short(word)} is no seed and no range; {SEEDS}")
        first, last = int(ends[0]), int(ends[-1])
        if found == (word,) and len(ends) == 1:
            first, last = 0, first - 1
        if not 0 <= last - first < MAX_SEEDS or last > SEED.high or len(out) + last - first >= MAX_SEEDS:
            raise SpecError(f"seeds = {short(text)}: {SEEDS}; 1 to {MAX_SEEDS} of them, each at most {SEED.high}")
        out |= dict.fromkeys(range(first, last + 1))
    if not out:
        raise SpecError(f"seeds is empty: {SEEDS}")
    return tuple(out)


def seeds_text(values: Iterable[int], between: str = ", ") -> str:
    """The text that `seeds` reads as these: never a number alone, which would be how many."""
    parts: list[list[int]] = []
    for seed in values:
        if parts and seed == parts[-1][1] + 1:
            parts[-1][1] = seed
        else:
            parts.append([seed, seed])
    if len(parts) == 1:
        return f"{parts[0][0]}-{parts[0][1]}"
    spelled = [word for a, b in parts for word in ([f"{a}-{b}"] if b > a + 1 else map(str, range(a, b + 1)))]
    return between.join(spelled)


def count(text: str) -> bool:
    """Whether a text of seeds is a number alone, and so says how many."""
    return DIGITS.fullmatch(text.strip()) is not None


def _read(knob: Knob, word: str) -> Any:
    if knob.choices:
        return next((choice for choice in knob.choices if text(choice) == word), word)
    if knob.kind is bool:
        return {"true": True, "false": False}.get(word.lower(), word)
    pattern = WHOLE if knob.kind is int else NUMBER
    return knob.kind(word) if pattern.fullmatch(word) else word


def short(word: str) -> str:
    """A word in quotes, for a refusal; the beginning of a long one."""
    return repr(word if len(word) <= 40 else f"{word[:40]}…")
