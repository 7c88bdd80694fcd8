"""docs/problems.md: its files load, its commands describe sweeps on them, its names are all that a file may say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sam_dash import cli
from sam_dash.maths.loss import LOSSES
from sam_dash.options import sweeps_of
from sam_dash.problems import card, listing
from sam_dash.problems.own import load
from sam_dash.problems.reading import MORE, NAMES, SEQUENCES
from sam_dash.runs import describe

TEXT = (Path(__file__).parents[1] / "docs" / "problems.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^python -m sam_dash (run .*)$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_code_is_a_problem_file_by_itself_or_in_the_place_of_the_first_ones_parts(number, tmp_path) -> None:
    path = tmp_path / "my_problem.py"
    path.write_text(BLOCKS[0] + (BLOCKS[number] if number else ""))
    own = load(path)
    scores = ["acc", "error_RMSE", "score_top-2 accuracy"]
    assert own.score is not None
    assert own.score.key == scores[number]
    assert (own.augment is not None) == (number == 2)


def test_the_first_block_is_short_and_its_command_describes_a_sweep(tmp_path, monkeypatch) -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and not line.startswith(("#", "import", "from"))]
    assert len(lines) <= 10
    path = tmp_path / "my_problem.py"
    path.write_text(BLOCKS[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(listing.PROBLEMS, str(tmp_path))
    own = load(path)
    made = {"card": vars(describe.describe(own, 0.0)), "files": list(map(str, own.files))}
    monkeypatch.setattr(card, "describe", lambda _: made)
    assert COMMANDS
    for command in COMMANDS:
        (sweep,) = sweeps_of(cli._parser().parse_args(shlex.split(command)))
        assert sweep.problem.card is not None
        assert (sweep.m, sweep.training.batch, len(sweep.runs())) == ((50, 10, 1), 50, 12)


def test_every_name_that_a_file_may_set_is_in_it_and_every_loss() -> None:
    assert [name for name in (*NAMES, *MORE) if f"`{name}" not in TEXT] == []
    assert [name for name in (*LOSSES, *SEQUENCES) if f'`"{name}"`' not in TEXT] == []
