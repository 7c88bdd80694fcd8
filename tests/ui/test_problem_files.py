"""Problem files, and checkpoints on them, through app.py: choices with what was found; what is wrong is one line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from sam_dash.problems import card as cards
from sam_dash.problems import listing
from sam_dash.problems.own import load
from sam_dash.problems.problem import Problem
from sam_dash.runs import checkpoints as recorded
from sam_dash.runs import describe, look_work
from sam_dash.runs.looks import FILE, Look
from sam_dash.runs.store import Store
from tests.problems.test_own_problem import BAD, GOOD
from tests.ui.test_checkpoints import PARTS, Here, jobs
from tests.ui.test_pages import charts, text_of
from tests.ui.test_recorded import record, study

__all__ = ["jobs"]

Visit = Callable[..., AppTest]
FAULTS = ("no data", "shapes", "loss not (n,)", "network raises")
SMALL = {"look_samples": "8", "look_parts": PARTS}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the operator has named, whose files are described in this process."""
    found = tmp_path / "problems"
    found.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(listing.PROBLEMS, str(found))

    def described(path: Path) -> dict[str, Any]:
        own = load(path)
        return {"card": vars(describe.describe(own, 0.0)), "files": list(map(str, own.files))}

    monkeypatch.setattr(cards, "describe", described)
    return found


def write(folder: Path, name: str, text: str = GOOD) -> str:
    (folder / name).write_text(text)
    return f"file:{folder / name}"


def weights(folder: Path, name: str, module: torch.nn.Module) -> Path:
    torch.save(module.state_dict(), folder / name)
    return folder / name


def test_a_problem_file_is_a_choice_with_a_card_of_what_was_found_and_bad_ones_are_one_line(
    visit: Visit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = visit("run", dataset=write(folder, "mine.py", GOOD + 'defaults = {"batch": 4, "m": [4, 1], "rho": 0.2}\n'))
    text = text_of(at)
    assert "mine.py: 8 training and 4 test samples (n, 3) float32, 2 classes; 8 parameters; loss cross-entropy" in text
    assert "Steps of a whole batch: all runs in one pass" in text
    assert not at.error
    assert not at.button(key="go").disabled
    assert "mine.py" in next(box for box in at.selectbox if box.key == "dataset").value
    for fault in FAULTS:
        change, line = BAD[fault]
        name = write(folder, f"{fault[:2]}.py", change(GOOD))
        monkeypatch.setenv(listing.PROBLEMS, name.removeprefix("file:"))
        at = visit("run", dataset=name)
        (said,) = [e.value for e in at.error]
        assert line.replace("mine.py", f"{fault[:2]}.py") in said.replace("\\", ""), fault
        assert "\n" not in said
        assert at.button(key="go_off").disabled
    monkeypatch.setenv(listing.PROBLEMS, str(folder))
    assert not visit("run", dataset=f"file:{folder / 'mine.py'}").error, "a bad one beside it hinders nobody"


def test_a_file_without_end_is_ended_and_said_on_the_page(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SAM_DASH_PROBLEM_SECONDS", "0.5")
    name = write(tmp_path, "endless.py", GOOD + "while True:\n    pass\n")
    monkeypatch.setenv(listing.PROBLEMS, str(tmp_path))
    monkeypatch.setenv("SAM_DASH_CHECKPOINTS", str(weights(tmp_path, "own.pt", torch.nn.Linear(3, 2))))
    at = visit("run", dataset=name)
    assert at.button(key="go_off").disabled
    for page in (at, visit("checkpoints", look_problem="file endless.py", look_a="file own.pt", **SMALL)):
        (said,) = [e.value for e in page.error]
        assert "endless.py, line 1" in said.replace("\\", "")
        assert "is it a loop without end?" in said


def test_checkpoints_are_looked_at_on_a_problem_file_and_those_of_another_network_are_one_line(
    visit: Visit, folder: Path, tmp_path: Path, jobs: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = weights(tmp_path, "own.pt", torch.nn.Linear(3, 2))
    other = weights(tmp_path, "other.pt", torch.nn.Linear(4, 2))
    torn = tmp_path / "torn.pt"
    torn.write_bytes(own.read_bytes()[:100])
    monkeypatch.setenv("SAM_DASH_CHECKPOINTS", ":".join(map(str, (own, other, torn))))
    write(folder, "mine.py")
    on = SMALL | {"look_problem": "file mine.py"}
    for name, wrong in (
        ("other.pt", "other.pt has the weights of another network; weight is (2, 4), expected (2, 3)"),
        ("torn.pt", "torn.pt cannot be read as weights alone"),
        ("own.pt", ""),
    ):
        query = on | {"look_a": f"file {name}", "look_b": "none"}
        visit("checkpoints", **query).button(key="look_start").click().run()
        jobs.finish()
        at = visit("checkpoints", **query)
        assert [wrong in e.value.replace("\\", "") for e in at.error] == [True] * bool(wrong), name
        assert bool(charts(at)) == (not wrong)
    assert "Training loss at the weights: " in text_of(at)
    monkeypatch.setenv(listing.PROBLEMS, str(folder / "mine.py"))
    for fault in FAULTS:
        change, line = BAD[fault]
        write(folder, "mine.py", change(GOOD))
        (said,) = [e.value for e in visit("checkpoints", **on, look_a="file own.pt").error]
        assert line in said.replace("\\", ""), fault
    write(folder, "mine.py", GOOD.replace("% 2", "% 2 + 0 * len(str(x))"))
    at = visit("checkpoints", **on, look_a="file own.pt", look_b="none")
    assert "Not computed yet" in text_of(at), "another file is another problem"


def test_what_a_recorder_saved_is_a_choice_with_its_study(visit: Visit, store: Store, folder: Path, jobs: Here) -> None:
    of = study()
    key = record(store, of, 8, 0)
    for step in (20, 40):
        path = recorded.place(store.url, key, step, "pt")
        torch.save(torch.nn.Linear(3, 2).state_dict(), path)
        recorded.register(store, key, step, path)
    write(folder, "mine.py")
    at = visit("checkpoints", study=of.key, look_problem="file mine.py", **SMALL)
    box = next(box for box in at.selectbox if box.key == "look_a")
    assert box.options == ["SAM, m = 8, seed 0, step 20", "SAM, m = 8, seed 0, step 40"]
    at.button(key="look_start").click().run()
    jobs.finish()
    at = visit("checkpoints", study=of.key, look_problem="file mine.py", **SMALL)
    assert not at.error
    assert charts(at)


def test_a_file_that_goes_wrong_after_it_was_described_ends_its_look_with_a_line(folder: Path, tmp_path: Path) -> None:
    own = weights(tmp_path, "own.pt", torch.nn.Linear(3, 2))
    problem = Problem(dataset=write(folder, "mine.py"))
    look = Look(problem=problem, weights=f"{FILE}{own}", samples=8, parts=("rounding",))

    def served() -> dict[str, Any]:
        answers = io.StringIO()
        look_work.serve(io.StringIO(json.dumps(look.to_dict())), answers)
        return json.loads(answers.getvalue().splitlines()[-1])

    write(folder, "mine.py", GOOD.replace("Linear(3, 2)", "Liner(3, 2)"))
    assert served()["error"].startswith("mine.py, line 12: network(): AttributeError: ")
    write(folder, "mine.py", GOOD.replace("% 2", "% 2 // 1"))
    assert "mine.py has changed since this run was specified" in served()["error"]
    write(folder, "mine.py")
    assert served() == {"ended": look.key}
