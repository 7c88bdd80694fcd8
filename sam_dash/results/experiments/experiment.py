"""What an experiment of a paper is: its claim, the preset that tests it, the figure, and the judgement by a rule.

The judgement is made on the frame that is drawn, so that the CSV of the figure holds all that a verdict rests on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from sam_dash.results.claims.claim import OPEN, REFUTED, SUPPORTED
from sam_dash.results.numbers.statistics import Mean
from sam_dash.results.numbers.study import Study

DATA = Path(__file__).parent / "data"  # made by `python -m docs.example`


class Finding(NamedTuple):
    """A statement, its verdict (`claims.SUPPORTED`, `REFUTED` or `OPEN`), and the numbers that it rests on."""

    says: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Experiment:
    """One experiment: `frame` takes the study of the preset, `figure` and `judge` the frame alone.

    `claim`, `source`, `rule` and `limits` are Markdown. A frame is made of `frames.rows`; it is empty where the study
    lacks what is compared.
    """

    name: str
    title: str
    claim: str
    source: str
    preset: str
    rule: str
    limits: str
    frame: Callable[[Study], pd.DataFrame]
    figure: Callable[[pd.DataFrame], go.Figure]
    caption: Callable[[Study, pd.DataFrame], str]
    judge: Callable[[pd.DataFrame], list[Finding]]
    data: Path  # the study that ships with the project


def verdict(difference: Mean) -> str:
    """Of a claim that `difference` is positive: by its 95 % interval; one that contains 0 is a tie, and open."""
    if not difference.excludes(0):
        return OPEN
    return SUPPORTED if difference.mean > 0 else REFUTED


def alt(findings: list[Finding]) -> str:
    """The alternative text of a figure: what was found."""
    return " ".join(f"{f.says}: {f.verdict}. {f.why}" for f in findings) or "Too few runs to judge."
