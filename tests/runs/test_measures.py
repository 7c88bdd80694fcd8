"""A measurement is one function and one row: in a folder, it is in the form, the price, the docs, a run, a figure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sam_dash.results import words
from sam_dash.runs import recorded
from sam_dash.runs.measure import REGISTRY, Quantity, measure, rows
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.spec import Measures, RunSpec

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

FOLLOW = """
import sys
from dataclasses import replace
from sam_dash import cli
from sam_dash.runs import cost, launch
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.spec import Measures, Problem, RunSpec, SweepSpec, Training
from sam_dash.results import words
from docs.generate import reference

assert "torch" not in sys.modules
(key,) = [key for key, m in MEASURES.items() if m.place == 100]
(quantity,) = MEASURES[key].quantities
free = SweepSpec(
    variants=("sgd", "sam"), seeds=(0, 1), problem=Problem(network="mlp:8", n_train=200),
    training=Training(epochs=1), measures=Measures(what=()),
)
sweep = replace(free, measures=Measures(what=(key, "trace")))
assert sweep.measures.what == ("trace", key)
assert cost.seconds(sweep.runs()[0], 1) > cost.seconds(free.runs()[0], 1)
assert f"`{key}`" in reference() and f"`{quantity}`" in reference() and MEASURES[key].about in reference()
commands = cli._parser()._subparsers._group_actions[0].choices
assert key in next(option.help for option in commands["run"]._actions if option.dest == "what")

from streamlit.testing.v1 import AppTest
import tempfile, os
os.environ["SAM_DASH_STORE"] = tempfile.mkdtemp() + "/store.db"
launch.start = lambda *_: None
page = AppTest.from_file("app.py", default_timeout=60).run().switch_page("pages/run.py").run()
assert not page.exception
assert key in page.button_group(key="measures").options
assert "torch" not in sys.modules

from sam_dash.results.drawing import panels
from sam_dash.results.numbers import study, tables
from sam_dash.runs.leases import Leases
from sam_dash.runs.store import Store
from sam_dash.runs.worker import run_group

store = Store()
sweep_id = store.submit(sweep).sweep_id
while keys := Leases(store).claim("here.0"):
    run_group(store.url, keys, "here.0")
assert {row["status"] for row in store.runs(sweep_id)} == {"done"}
found = store.measurements(sweep_id, quantities=[quantity])
assert len(found) == 4 and all(row["value"] > 0 and row["method"] for row in found)
frame = study.from_store(store, sweep_id)
drawn = tables.summary(frame.finals, frame.runs, [quantity])
assert (drawn["kind"] == "mean").sum() == 2
print(words.quantity(quantity).name)
"""


def written_by_contributing(folder: Path) -> None:
    """Follow the steps: the code of "Add a measurement" to a file of the name that it gives."""
    section = CONTRIBUTING.split("## Add a measurement")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    (name,) = re.findall(r"sam_dash/runs/measures/(\w+)\.py", section)
    assert f"def {name}(" in code
    (folder / f"{name}.py").write_text(code, encoding="utf-8")


def test_the_steps_of_contributing_make_a_measurement_that_is_everywhere(tmp_path) -> None:
    written_by_contributing(tmp_path)
    environment = {**os.environ, "SAM_DASH_MEASURES": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "Gradient norm"


def test_the_keys_of_runs_do_not_change_with_what_is_added() -> None:
    """Order: the first nine as ever, the others by name, wherever they are found."""
    first = ["trace", "lam_max", "noise", "pyhessian", "m_sharpness", "density", "ascent", "weight_tail"]
    first += ["regulariser"]
    assert list(MEASURES)[:9] == first
    added = dict(MEASURES) | {name: MEASURES["trace"].__class__(name, "", 1.0, {}, lambda _: []) for name in "cab"}
    assert list(rows(added)) == [*first, "a", "b", "c"]
    assert Measures(what=("noise", "trace")).what == ("trace", "noise")
    assert RunSpec(variant="sam", m=8).key == "ac6a83b18726"


def test_two_measurements_do_not_give_the_same_quantity() -> None:
    with pytest.raises(ValueError, match=r"twice gives 'tr_V', which noise does"):

        @measure("", gradients=1.0, quantities={"tr_V": Quantity("", "", "")})
        def twice(of):
            return []

    assert "twice" not in REGISTRY


def test_every_quantity_has_one_row_and_words_come_from_it() -> None:
    rows_ = [q for m in MEASURES.values() for q in m.quantities] + list(recorded.QUANTITIES) + list(words.GAPS)
    assert sorted(rows_) == sorted(words.QUANTITIES)
    assert words.quantity("tr_V@16").name == "tr(V), means of 16"
    assert words.quantity("m_sharp@8").html == "<i>m</i>-sharpness at <i>m</i> = 8"
    assert words.quantity("test_acc@class=3").name == "Test accuracy, class 3"
    assert words.quantity("layer_noise@conv1").help == "what the layer conv1 adds to tr(V)"
    assert words.quantity("unheard_of@2").name == "unheard_of@2"
