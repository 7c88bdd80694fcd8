"""A user's own problem file: loaded as a record, and refused in one line with its own line number."""

from __future__ import annotations

import random
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from sam_dash.maths.loss import CROSS_ENTROPY
from sam_dash.problems import card as cards
from sam_dash.problems.arrays import DataError
from sam_dash.problems.card import card
from sam_dash.problems.own import load

GOOD = """\
import numpy as np
import torch


def data():
    x = np.random.randn(12, 3)
    y = np.arange(12) % 2
    return x[:8], y[:8], x[8:], y[8:]


def network():
    return torch.nn.Linear(3, 2)


loss = "cross_entropy"
"""


def written(folder: Path, text: str = GOOD, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def test_a_file_gives_its_arrays_network_and_loss(tmp_path: Path) -> None:
    own = load(written(tmp_path, GOOD + 'defaults = {"batch": 4, "m": (4, 1)}\n'))
    assert (own.x_train.shape, own.x_train.dtype, own.y_test.dtype) == ((8, 3), torch.float32, torch.int64)
    assert (own.loss, own.loss_title, own.score.key, own.classes, own.outputs) == (
        CROSS_ENTROPY, "cross-entropy", "acc", 2, (2,),
    )  # fmt: skip
    assert own.defaults == {"batch": 4, "m": [4, 1]}


def test_a_seed_determines_network_and_data_and_leaves_all_generators_as_they_were(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    own, again = load(path), load(path)
    a, b, c = (own.network(seed).weight for seed in (5, 5, 6))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(own.x_train, again.x_train)
    assert own.digest == again.digest
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())
    torch.manual_seed(5)
    assert torch.equal(a, torch.nn.Linear(3, 2).weight), "as torch.manual_seed would have it"


def test_the_digest_is_of_the_file_what_it_imports_from_its_folder_and_the_arrays(tmp_path: Path) -> None:
    text = GOOD.replace("import torch", "import torch\nimport helper").replace("3, 2)", "3, helper.C)")
    np.save(tmp_path / "x.npy", np.zeros((12, 3)))
    path = written(tmp_path, text.replace("np.random.randn(12, 3)", "np.load('x.npy')"))
    written(tmp_path, "C = 2\n", "helper.py")
    modules = set(sys.modules)
    first = load(path)
    assert {file.name for file in first.files} == {"mine.py", "helper.py", "x.npy"}
    assert not any("helper" in name for name in set(sys.modules) - modules), "another folder's is another"
    written(tmp_path, "C = 3\n", "helper.py")
    second = load(path)
    assert second.outputs == (3,)
    np.save(tmp_path / "x.npy", np.ones((12, 3)))
    third = load(path)
    assert len({first.digest, second.digest, third.digest}) == 3
    (tmp_path / "beside.txt").write_text("nobody reads it")
    assert load(path).digest == third.digest


def test_a_loss_and_a_score_of_ones_own_are_taken_under_their_names(tmp_path: Path) -> None:
    text = GOOD.replace('loss = "cross_entropy"', "def hinge(out, y):\n    return (out[:, 0] - y).abs()\nloss = hinge")
    own = load(written(tmp_path, text))
    assert (own.loss_title, own.score.key, own.classes) == ("hinge", "acc", 2)
    more = "def score(out, y):\n    return (out[:, 0] - y).abs()\nscore_name = 'MAE'\nbetter = 'lower'\n"
    assert load(written(tmp_path, text + more)).score.key == "error_MAE"
    assert load(written(tmp_path, text + more.replace("lower", "higher"))).score.key == "score_MAE"


def test_a_regression_has_no_classes_and_shows_the_rmse(tmp_path: Path) -> None:
    text = GOOD.replace("np.arange(12) % 2", "x[:, :2]").replace("cross_entropy", "mse")
    own = load(written(tmp_path, text))
    assert (own.classes, own.score.key, own.y_train.dtype, own.y_train.shape) == (
        0,
        "error_RMSE",
        torch.float32,
        (8, 2),
    )


BAD = {
    "no data": (lambda t: t.replace("def data", "def date"), "mine.py: no `data`; expected data, network and loss"),
    "no loss": (lambda t: t.replace("loss =", "lost ="), "mine.py: no `loss`"),
    "no Python": (lambda t: t.replace("def network():", "def network(:"), "mine.py, line 11: SyntaxError: "),
    "import": (lambda t: t.replace("import torch", "import torhc"), "line 2: ModuleNotFoundError: No module named"),
    "exit": (lambda t: t + "raise SystemExit('bye')\n", "mine.py, line 16: SystemExit: bye"),
    "data is no function": (lambda t: t + "data = 3\n", "line 16: expected a function, `data` is a value of type int"),
    "data raises": (lambda t: t.replace("x[:8], y", "x[:8], z"), "mine.py, line 8: data(): NameError: name 'z'"),
    "three arrays": (lambda t: t.replace(", y[8:]\n", "\n"), "mine.py, line 5: data() gives 3 things; expected x_"),
    "lengths": (lambda t: t.replace("x[8:]", "x[9:]"), "line 5: x_test is (3, 3) and y_test (4,); expected as many"),
    "shapes": (lambda t: t.replace("x[8:]", "x[8:, 1:]"), "line 5: x_train is (8, 3) float32 and x_test (4, 2)"),
    "kinds": (lambda t: t.replace("y[8:]", "y[8:] / 2"), "line 5: y_train is (8,) int64 and y_test (4,) float32"),
    "a list": (lambda t: t.replace("return x[:8]", "return x[:8].tolist()"), "x_train is a value of type list; exp"),
    "texts": (lambda t: t.replace("np.arange(12) % 2", "x.astype(str)"), "y_train holds <U32; expected numbers"),
    "nan": (lambda t: t.replace("x[:8],", "x[:8] * np.nan,"), "x_train holds NaN or infinity"),
    "labels": (lambda t: t.replace("% 2", "% 4"), "mine.py, line 5: the cross-entropy takes class labels"),
    "float labels": (lambda t: t.replace("% 2", "% 2 / 1"), "line 5: the cross-entropy takes class labels"),
    "network raises": (lambda t: t.replace("Linear(3, 2)", "Liner(3)"), "line 12: network(): AttributeError: module"),
    "no module": (lambda t: t.replace("torch.nn.Linear(3, 2)", "3"), "line 11: network() gives a value of type int"),
    "no parameters": (lambda t: t.replace("Linear(3, 2)", "ReLU()"), "line 11: network() gives a module without"),
    "does not fit": (lambda t: t.replace("Linear(3, 2)", "Linear(4, 2)"), "line 11: network() on the first samples: "
                     "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
    "BatchNorm": (lambda t: t.replace("(3, 2)", "(3, 2), torch.nn.BatchNorm1d(2))").replace("nn.L", "nn.Sequential("
                  "torch.nn.L"), "line 11: network() on the first samples: BatchNorm1d '1': batch statistics"),
    "unknown loss": (lambda t: t.replace('"cross_entropy"', '"focal"'), "line 15: loss is 'focal'; expected one of"),
    "loss not (n,)": (lambda t: t.replace('"cross_entropy"', "lambda o, y: o.mean()"), "line 15: the loss on the first "
                      "samples: the loss of 8 samples is shape (); expected one number a sample, (8,)"),
    "loss raises": (lambda t: t.replace('"cross_entropy"', "lambda o, y: o[:, 7]"), "line 15: the loss on the first"),
    "loss is nan": (lambda t: t.replace('"cross_entropy"', "lambda o, y: o[:, 0] / 0 * 0"), "line 15: the loss of the"),
    "score not (n,)": (lambda t: t + "def score(o, y):\n    return 1\n", "line 16: the score of the first samples"),
    "score_name": (lambda t: t + "score = len\nscore_name = '<b>'\n", "line 17: score_name is '<b>'"),
    "better": (lambda t: t + "score = len\nbetter = 'more'\n", "line 17: better is 'more'; expected one of higher"),
    "augment shape": (lambda t: t + "augment = lambda x, g: x[:2]\n", "line 16: augment() gives (2, 3) float32"),
    "augment random": (lambda t: t + "augment = lambda x, g: x + torch.rand(3)\n", "line 16: augment() differs under"),
    "defaults": (lambda t: t + "defaults = 3\n", "line 16: defaults is a value of type int; expected a dict"),
    "default": (lambda t: t + "defaults = {'lr': torch.ones(2)}\n", "line 16: defaults['lr'] is a value of type Te"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_with_its_own_line_number(tmp_path: Path, case: str) -> None:
    change, said = BAD[case]
    assert change(GOOD) != GOOD
    with pytest.raises(DataError) as caught:
        load(written(tmp_path, change(GOOD)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_in_a_file_beside_it_names_that_file(tmp_path: Path) -> None:
    written(tmp_path, "def two():\n    return 1 / 0\n", "helper.py")
    with pytest.raises(DataError, match=r"^helper\.py, line 2: data\(\): ZeroDivisionError"):
        load(written(tmp_path, GOOD.replace("    x =", "    import helper; helper.two()\n    x =")))


def test_a_missing_file_and_one_that_is_no_text_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*none\.py'"):
        load(tmp_path / "none.py")
    (tmp_path / "mine.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"mine\.py cannot be read as text"):
        load(tmp_path / "mine.py")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_a_card_is_made_once_by_a_process_of_its_own_until_a_file_of_it_changes(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(cache / "x.npy", np.zeros((12, 3)))
    path = written(cache, GOOD.replace("np.random.randn(12, 3)", "np.load('x.npy'); print('loud')"))
    found = card(path)
    assert found.digest == load(path).digest
    assert (found.shape, found.labels, found.n_train, found.n_test, found.classes) == ((3,), (), 8, 4, 2)
    assert (found.outputs, found.parameters, found.loss, found.score) == ((2,), 8, "cross-entropy", "acc")
    monkeypatch.setattr(cards, "describe", lambda _: pytest.fail("known"))
    assert card(path) == found
    cards._KNOWN.clear()
    assert card(path) == found, "kept for other processes"
    np.save(cache / "x.npy", np.ones((13, 3)))
    asked: list[Path] = []
    monkeypatch.setattr(cards, "describe", asked.append)
    with pytest.raises(TypeError):
        card(path)
    assert asked == [path]


def test_a_file_without_end_is_ended_and_says_where_it_was(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_DASH_PROBLEM_SECONDS", "0.5")
    path = written(cache, "x = 1\nwhile True:\n    x += 1\n")
    with pytest.raises(DataError, match=r"^mine\.py, line [23]: it is still at this after 0\.5 s"):
        card(path)
    monkeypatch.setattr(cards, "describe", lambda _: pytest.fail("tried again at once"))
    with pytest.raises(DataError, match="still at this"):
        card(path)


def test_a_file_that_kills_its_process_is_said_to_have(cache: Path) -> None:
    with pytest.raises(DataError, match=r"mine\.py: the process that reads it has ended \(code 7\)"):
        card(written(cache, "import os\nos._exit(7)\n"))
