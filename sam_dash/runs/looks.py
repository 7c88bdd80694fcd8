"""What the page Checkpoints asks of some weights, and where the answer is kept: by content, so that none is computed
twice. Torch-free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from sam_dash.problems.arrays import sha256
from sam_dash.problems.problem import Problem, SpecError, check, check_choice, check_number
from sam_dash.runs.plain import digest, plain
from sam_dash.runs.spec import from_dict
from sam_dash.surroundings import cache_dir

SCHEMA = 1
PARTS = {
    "sharpness": "tr(H) and each layer's, largest eigenvalues",
    "density": "spectral density",
    "m_sharpness": "m-sharpness",
    "slices": "slices in one dimension",
    "plane": "slices in two dimensions",
    "rounding": "rounding and noise",
}
SPLITS = ("train", "test")
RUN, FILE = "run:", "file:"
BITS = (8, 4)
SIGMAS = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
SIZES = (1, 2, 4, 8, 16, 32, 64)  # m of the m-sharpness
PAIRS = 8  # draws of noise of one size
PRODUCTS = {"sharpness": 228, "density": 320, "m_sharpness": 35, "slices": 40}  # Hessian-vector products, about


@dataclass(frozen=True, kw_only=True)
class Look:
    """Some weights on a problem: which, what of them, on how many samples.

    `weights`: run:KEY, the final weights of a run of the store, or file:PATH; `toward`: others, to which the line is
    drawn, or "". `digest`s are of the files' content. `seed`: of the labels that were trained on. `rho`: radius of the
    ball and of the m-sharpness; `reach`: of the slices along eigenvectors, in rho. `across`: points along a slice in
    one dimension; in two, each side has half as many.
    """

    problem: Problem = field(default_factory=Problem)
    seed: int = 0
    weights: str = ""
    digest: str = ""
    toward: str = ""
    toward_digest: str = ""
    parts: tuple[str, ...] = tuple(PARTS)
    split: str = "train"
    samples: int = 1000
    rho: float = 0.05
    reach: float = 10.0
    across: int = 41

    def __post_init__(self) -> None:
        if isinstance(self.problem, Mapping):
            object.__setattr__(self, "problem", from_dict(Problem, self.problem))
        for part in self.parts:
            check_choice("part", part, PARTS)
        check_choice("split", self.split, SPLITS)
        check_number(self, "seed", 0, 2**31 - 1, whole=True)
        check_number(self, "samples", 2, 10**6, whole=True)
        check_number(self, "rho", 1e-6, 100)
        check_number(self, "reach", 0.1, 1000)
        check_number(self, "across", 5, 201, whole=True)
        check(bool(self.weights), "no weights to look at")
        for name, of in (("weights", "digest"), ("toward", "toward_digest")):
            object.__setattr__(self, of, getattr(self, of) or _digest(getattr(self, name)))

    @property
    def rungs(self) -> int:
        """Points along each side of a plane: odd, so that the weights are one of them."""
        return self.across // 2 | 1

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found: dict[str, Any] = plain({f.name: getattr(self, f.name) for f in fields(self)})
        return found

    @cached_property
    def key(self) -> str:
        """Twelve hex digits of all that the answer depends on: of files the content, not the place."""
        return digest([SCHEMA, {k: v for k, v in self.to_dict().items() if k not in ("weights", "toward")}])

    @property
    def passes(self) -> int:
        """About how many forward passes the answer takes; a Hessian-vector product counts as four."""
        lines = 4 + bool(self.toward)
        own = {"slices": self.across * lines, "plane": 2 * self.rungs**2,
               "rounding": len(BITS) + 2 * PAIRS * len(SIGMAS)}  # fmt: skip
        return sum(own.get(part, 0) + 4 * PRODUCTS.get(part, 0) for part in self.parts) or 1

    @property
    def place(self) -> Path:
        """The file of the answer."""
        return cache_dir() / "looks" / f"{self.key}.json"

    def answer(self) -> dict[str, Any] | None:
        """The answer, None where it has not been computed."""
        try:
            found: dict[str, Any] = json.loads(self.place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found


def _digest(weights: str) -> str:
    if not weights.startswith(FILE):
        return weights
    path = weights.removeprefix(FILE)
    try:
        return sha256(Path(path).expanduser().absolute())
    except OSError as error:
        raise SpecError(f"no file {path!r} that can be read ({error.strerror})") from None


def read(request: Any) -> Look:
    """A look from plain JSON values; SpecError otherwise."""
    found: Look = from_dict(Look, request)
    return found
