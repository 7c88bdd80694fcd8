"""How variants look: colour, marker and dash, the same on every page and figure."""

from __future__ import annotations

from typing import NamedTuple

from sam_dash.variants import REGISTRY

GREY = "#7F7F7F"
FONT = "Arial, Helvetica, Liberation Sans, sans-serif"


class Look(NamedTuple):
    """Colour (contrast >= 3:1 on white and on Streamlit's dark #171614), marker and dash of a variant."""

    colour: str
    marker: str
    dash: str


# Okabe-Ito, as far as it passes on both backgrounds. What is swept over m is solid; the dashes are for the
# reference lines, which would otherwise differ by hue alone. More hues could not be told apart: a further variant has
# that of its family, which its file names, and a marker of its own.
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
DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")


def _looks() -> dict[str, Look]:
    """The look of every registered variant; those without a mark here take a spare one, in the order of their keys."""
    spare = ((marker, dash) for dash in DASHES for marker in SPARE)
    marks = MARKS | dict(zip(sorted(set(REGISTRY) - set(MARKS) - set(BASES)), spare, strict=False))
    return BASES | {key: Look(BASES[REGISTRY[key].family].colour, *mark) for key, mark in marks.items()}


LOOKS = _looks()
OTHER = Look(GREY, "star", "longdash")
# viridis, truncated to what has contrast 3:1 on white (0-0.6) and on dark (0.35-1): the overlap serves both themes
ORDERED = ("#3B528B", "#31688E", "#26828E", "#1F9E89", "#21A585", "#2FA866", "#5F9E3A", "#8C8F1F")


def look(variant: str) -> Look:
    """Colour, marker and dash of a variant, the same wherever it appears; `OTHER` for one not registered here."""
    return LOOKS.get(variant, OTHER)
