"""How variants look: colour, marker and dash, the same on every page and figure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from sam_dash.variants import REGISTRY

GREY = "#7F7F7F"
FONT = "Arial, Helvetica, Liberation Sans, sans-serif"


class Look(NamedTuple):
    """Colour (contrast >= 3:1 on white and on Streamlit's dark #171614), marker and dash of a variant."""

    colour: str
    marker: str
    dash: str


# Okabe-Ito, as far as it passes on both backgrounds. The dashes are where a second rho goes on from. More hues could
# not be told apart: a further variant has that of its family, which its file names, and a marker of its own.
BASES = {
    "sgd": Look("#0072B2", "circle", "dash"),
    "nsam": Look("#D55E00", "square", "dot"),
    "sam": Look("#009E73", "diamond", "solid"),
    "rwsam": Look("#CC79A7", "triangle-up", "solid"),
    "usam": Look("#9467BD", "x", "solid"),
    "nusam": Look("#A67C00", "cross", "dashdot"),
}
MARKS = {
    "looksam": ("triangle-down", "dashdot"), "adasam": ("pentagon", "longdash"),
    "lightsam": ("hexagon", "longdashdot"), "rwp": ("octagon", "dot"), "asam": ("diamond-tall", "dash"),
    "gsam": ("diamond-wide", "dot"), "wsam": ("star-diamond", "dashdot"), "multisam": ("star-square", "longdash"),
    "lookbehind": ("bowtie", "longdashdot"), "eigensam": ("hourglass", "dash"), "fsam": ("triangle-left", "dash"),
    "vasso": ("triangle-right", "dashdot"), "msam": ("triangle-ne", "longdash"), "esam": ("star-triangle-up", "dash"),
    "focalsam": ("star-triangle-down", "dot"), "unified": ("hexagram", "dash"), "mongesam": ("hexagon2", "dot"),
    "ssamf": ("triangle-se", "dash"), "ssamd": ("triangle-sw", "dot"), "slsam": ("triangle-nw", "longdash"),
}  # fmt: skip
SPARE = ("circle-x", "square-x", "diamond-x", "circle-cross", "square-cross", "diamond-cross", "asterisk", "hash")


DASHES = {
    "solid": "solid", "dash": "7px,4px", "dot": "2px,3px", "dashdot": "8px,3px,2px,3px", "longdash": "11px,3px",
    "longdashdot": "11px,3px,2px,3px",
}  # fmt: skip
"""Plotly's names, and lengths that a symbol of a legend shows two periods of; its own are longer than the symbol."""


def _looks() -> dict[str, Look]:
    """The look of every registered variant; those without a mark here take a spare one, in the order of their keys."""
    spare = ((marker, dash) for dash in list(DASHES)[1:] for marker in SPARE)
    marks = MARKS | dict(zip(sorted(set(REGISTRY) - set(MARKS) - set(BASES)), spare, strict=False))
    return BASES | {key: Look(BASES[REGISTRY[key].family].colour, *mark) for key, mark in marks.items()}


LOOKS = _looks()
OTHER = Look(GREY, "star", "longdash")
COMMON = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "triangle-down")
LAST = {
    "#0072B2": "#009BA1", "#D55E00": "#AC425C", "#009E73": "#945500", "#CC79A7": "#7955BF", "#9467BD": "#B3385C",
    "#A67C00": "#627D23",
}  # fmt: skip
"""Where the shades of a colour end: at m = 1, or at the last value of a knob."""
# one lightness, so that white letters on them and they on both backgrounds can be told: contrast 4.5 and 3
ORDERED = ("#6B61B5", "#3A6DBB", "#0077AF", "#007E92", "#00806D", "#3B7C46", "#6A7220", "#8A6410")


def look(variant: str) -> Look:
    """Colour, marker and dash of a variant, the same wherever it appears; `OTHER` for one not registered here."""
    return LOOKS.get(variant, OTHER)


def shade(colour: str, share: float) -> str:
    """A colour of `LOOKS` this far on its way to its end in `LAST`, in equal steps of lightness, chroma and hue."""
    if share <= 0 or colour not in LAST:
        return colour
    (l0, c0, h0), (l1, c1, h1) = (oklch(end) for end in (colour, LAST[colour]))
    turn = (h1 - h0 + math.pi) % (2 * math.pi) - math.pi
    return from_oklch(l0 + share * (l1 - l0), c0 + share * (c1 - c0), h0 + share * turn)


def turned(known: Iterable[str], first: str, turn: int) -> list[str]:
    """The known values in a circle, from the one that is `turn` after `first` on."""
    names = list(known)
    start = names.index(first) + turn
    return [names[(start + k) % len(names)] for k in range(len(names))]


def markers(own: str, turn: int) -> list[str]:
    """A variant's own marker, dotted, and the others; from number `turn` on. Hollow ones mean: not converged."""
    names = list(dict.fromkeys([own, f"{own}-dot", *COMMON, *(f"{s}-dot" for s in COMMON)]))
    return turned(names, own, turn)


def oklch(colour: str) -> tuple[float, float, float]:
    """Lightness, chroma and hue (radians) of "#rrggbb" in OKLab (Ottosson, 2020)."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    long, medium, short = (
        math.cbrt(x * r + y * g + z * b)
        for x, y, z in (
            (0.4122214708, 0.5363325363, 0.0514459929),
            (0.2119034982, 0.6806995451, 0.1073969566),
            (0.0883024619, 0.2817188376, 0.6299787005),
        )
    )
    a = 1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short
    b = 0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short
    return 0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short, math.hypot(a, b), math.atan2(b, a)


def from_oklch(lightness: float, chroma: float, hue: float) -> str:
    """The "#RRGGBB" of a colour of OKLab, cut to what a screen has."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long, medium, short = (
        (lightness + x * a + y * b) ** 3
        for x, y in ((0.3963377774, 0.2158037573), (-0.1055613458, -0.0638541728), (-0.0894841775, -1.2914855480))
    )
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    parts = (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in linear)
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, p))):02X}" for p in parts)
