"""An experiment of several studies, one a training setting, as one: every run says its learning rate and batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sam_dash.results.numbers.study import Study


def together(parts: Sequence[Study]) -> Study:
    """The first study with the runs of all; `finals` and `runs` have the columns `lr` and `batch`."""
    runs = pd.concat([_settings(part.runs, part) for part in parts], ignore_index=True)
    finals = pd.concat([_settings(part.finals, part) for part in parts], ignore_index=True)
    return replace(parts[0], runs=runs, finals=finals, hidden=sum(part.hidden for part in parts))


def _settings(frame: pd.DataFrame, part: Study) -> pd.DataFrame:
    training = part.spec.training
    return frame.assign(lr=training.lr, batch=float(training.batch))


def folders(folder: Path) -> list[Path]:
    """The folders of studies in a folder: itself where it holds one."""
    if (folder / "runs.csv").is_file() or not folder.is_dir():
        return [folder]
    return sorted(path for path in folder.iterdir() if (path / "runs.csv").is_file())
