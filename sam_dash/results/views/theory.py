"""What the views of the page Theory share: what was asked and answered, how that is said, and how its lines look."""

from __future__ import annotations

from typing import NamedTuple

from sam_dash.maths.theory.setting import PROBLEMS, N, Played, Setting
from sam_dash.results import words
from sam_dash.results.drawing import captions, style

ITERATES, SDE = "iterates", "SDE"
OTHER = style.ORDERED[7]  # of the SDE, whatever the variant


class Theory(NamedTuple):
    """A setting with its answer; `moment`: which is drawn, of `theory_moments.MOMENTS`."""

    setting: Setting
    played: Played
    moment: str = "Mean"


def named(s: Setting) -> str:
    """The variant with its m: "n-USAM", "USAM, m = B = 8", "USAM, m = 2"."""
    return words.cell_name(s.variant, None if s.of_all else s.m, s.batch)


def said(s: Setting) -> str:
    """The problem, the variant and how batches are drawn, for a caption."""
    spectrum = captions.listed(f"{v:g}" for v in s.spectrum)
    of = "" if s.problem == "two_weights" else f" with spectrum {spectrum}"
    kind = "with" if s.replace else "without"
    return (
        f"{PROBLEMS[s.problem]}{of}, {N} samples, noise {s.noise:g}; {named(s)}, B = {s.batch} {kind} replacement, "
        f"ρ = {s.rho:g}."
    )


def colours(s: Setting) -> dict[str, dict[str, str]]:
    """The looks of the iterates, in the variant's colour, and of the SDE."""
    own = style.look(s.variant)
    return {
        ITERATES: {"colour": own.colour, "dash": "solid", "marker": "circle"},
        SDE: {"colour": OTHER, "dash": "dash", "marker": "diamond"},
    }


def exact(line: str) -> str:
    """The name of the exact line beside an ensemble's points."""
    return f"{line}, exact"


QUALITATIVE = (
    "**Qualitative only.** SAM's forms divide the perturbation's gradient by its norm: their drift "
    "∇(f + ρ E‖∇f_I‖) has no closed form, and is estimated here from fresh batches at each step."
)
