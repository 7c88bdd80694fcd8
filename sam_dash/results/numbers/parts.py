"""An experiment of several studies, one a setting, as one: its runs say what those differ in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sam_dash.results.numbers.study import Study


def together(parts: Sequence[Study]) -> Study:
    """The first study with the runs of all; `finals` and `runs` have what parts may differ in as columns: `lr`,
    `batch`, `epochs`, `dataset` and `label_noise`.
    """
    runs = pd.concat([_settings(part.runs, part) for part in parts], ignore_index=True)
    finals = pd.concat([_settings(part.finals, part) for part in parts], ignore_index=True)
    return replace(parts[0], runs=runs, finals=finals, hidden=sum(part.hidden for part in parts))


def _settings(frame: pd.DataFrame, part: Study) -> pd.DataFrame:
    training, problem = part.spec.training, part.spec.problem
    return frame.assign(
        lr=training.lr, batch=float(training.batch), epochs=training.epochs, dataset=problem.dataset,
        label_noise=problem.label_noise,
    )  # fmt: skip


def folders(folder: Path) -> list[Path]:
    """The folders of studies in a folder: itself where it holds one."""
    if (folder / "runs.csv").is_file() or not folder.is_dir():
        return [folder]
    return sorted(path for path in folder.iterdir() if (path / "runs.csv").is_file())
