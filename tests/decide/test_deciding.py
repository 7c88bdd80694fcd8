"""`python -m sam_dash decide`: runs through the store, invented here; its record, its refusals, what a collapse is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sam_dash import deciding, headless
from sam_dash.cli import main
from sam_dash.decide.arms import edges, of_base, of_sam, raced
from sam_dash.decide.record import read, recorded
from sam_dash.decide.rule import Pair
from sam_dash.results.answer import interval
from sam_dash.runs.plain import finite, plain
from sam_dash.runs.spec import SweepSpec, Training
from sam_dash.runs.store import Store
from tests import synthetic
from tests.synthetic import SWEEP, fill


@pytest.fixture
def worked(monkeypatch, tmp_path: Path):
    """How many runs were trained at each call, with invented numbers; the command's target and its store."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "store.db"))
    target = tmp_path / "spec.json"
    target.write_text(json.dumps(SWEEP.to_dict()))
    many: list[int] = []

    def work(store: Store, ids, keys, workers) -> None:
        many.append(len(keys))
        for i in ids:
            fill(store, store.sweep(i))  # type: ignore[arg-type]

    monkeypatch.setattr(headless, "work", work)
    return many, str(target), tmp_path


def test_a_large_gain_is_a_yes_and_the_same_command_again_trains_nothing(worked, capsys) -> None:
    many, target, tmp_path = worked
    assert main(["decide", target, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["answer"] == "yes"
    assert "m = 1" in found["leading"]["sam"]
    assert "base: 12 settings, 3 seeds each" in err
    assert many[:3] == [36, 18, 18], "12 x 3, then 6 x 3 and 3 x 6 more"
    assert found["effort"]["sam"]["gradients"] > 0
    (record,) = (tmp_path / "data/sam-dash/decisions").glob("*.jsonl")
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["what"] for line in lines] == ["begin", *["base"] * 3, *["sam"] * 3, "plan", "look", "answer"]
    assert str(record) == found["record"]
    before = sum(many)
    assert main(["decide", target]) == 0
    assert sum(many) == before
    assert capsys.readouterr().out.startswith("Yes: sam, rho = ")


def test_another_margin_on_the_same_seeds_is_refused_and_fresh_seeds_are_not(worked, capsys) -> None:
    _, target, _ = worked
    assert main(["decide", target]) == 0
    assert main(["decide", target, "--margin", "1"]) == 2
    assert "these seeds were looked at with a margin of 0.005 already" in capsys.readouterr().err
    assert main(["decide", target, "--margin", "1", "--first-seed", "1000"]) == 0


def test_what_the_budget_does_not_pay_is_not_begun_and_the_exit_code_says_so(worked, capsys) -> None:
    many, target, _ = worked
    assert main(["decide", target, "--gradients", "10"]) == 1
    assert many == []
    assert "Cannot be told within this budget: the next 36 runs take" in capsys.readouterr().out
    assert main(["decide", target, "--minutes", "0"]) == 2


def test_the_epoch_that_counts_is_chosen_while_exploring_and_then_kept(worked, monkeypatch) -> None:
    """A curve that has its best at half of the training while exploring, at its end on fresh seeds."""
    _, _, tmp_path = worked
    usual = synthetic.values

    def curve(run, share=1.0):
        best = 0.5 if run.seed < deciding.EXPLORED else 1.0
        return usual(run, share) | {"test_acc": 0.9 - abs(share - best) / 10}

    monkeypatch.setattr(synthetic, "values", curve)
    runs = learner(tmp_path)
    name = next(iter(runs.arms))
    first = runs([name], range(3))[name]
    assert first == pytest.approx(dict.fromkeys(range(3), 0.9))
    fresh = runs([name], range(deciding.EXPLORED, deciding.EXPLORED + 2))[name]
    assert list(fresh.values()) == pytest.approx([0.85, 0.85])


def learner(tmp_path: Path) -> deciding.Runs:
    store = Store(tmp_path / "runs.db")
    return deciding.Runs(store, SWEEP.problem, 1, 0, math.inf, math.inf, of_base(SWEEP.training))


def test_a_run_that_diverges_or_ends_at_chance_has_collapsed(worked, monkeypatch) -> None:
    _, _, tmp_path = worked
    runs = learner(tmp_path)
    name = next(iter(runs.arms))
    specs = runs.arms[name].sweep(SWEEP.problem, (0, 1, 2)).runs()
    usual = synthetic.values

    def values(run, share=1.0):
        return usual(run, share) | ({"test_acc": 0.1} if run.seed == 1 else {})

    monkeypatch.setattr(synthetic, "values", values)
    fill(runs.store, runs.arms[name].sweep(SWEEP.problem, (0, 1, 2)), {specs[2].key: "diverged"})
    found = runs([name], range(3))[name]
    assert [math.isnan(v) for v in found.values()] == [False, True, True]


def test_the_families_are_as_large_and_sam_stands_on_the_best_base() -> None:
    for batch in (64, 8, 2, 1):
        base = of_base(Training(batch=batch))
        best = list(base.values())[-1]
        sam = of_sam(best)
        assert len(base) == len(sam) == 12
        assert {arm.training for arm in sam.values()} == {best.training}
        assert {arm.m for arm in sam.values()} <= set(range(1, batch + 1))
    first = next(iter(of_base(Training()).values()))
    assert {arm.knobs["rho"] for arm in of_sam(first).values()} == {0.02, 0.05, 0.1, 0.2}
    assert max(arm.training.epochs for arm in of_base(Training(epochs=20)).values()) == 40, "as many gradients as SAM"


@pytest.mark.parametrize("text", ["sam,rwsam", "asam,nsam,usam"])
def test_of_several_variants_each_has_its_twelve_and_the_base_as_many_more(text) -> None:
    keys = raced(text)
    base = of_base(Training(lr=0.1), len(keys))
    sam = of_sam(next(iter(base.values())), keys)
    assert len(base) == len(sam) == 12 * len(keys)
    assert {key: sum(arm.variant == key for arm in sam.values()) for key in keys} == dict.fromkeys(keys, 12)
    assert len({arm.training.lr for arm in base.values()}) == 2 * len(keys)
    radii = {arm.knobs["rho"] for arm in sam.values() if arm.variant == keys[0]}
    assert radii == ({0.02, 0.05, 0.1, 0.2} if keys[0] == "sam" else {0.2, 0.5, 1.0, 2.0}), "of a variant's usual ρ"


@pytest.mark.parametrize(
    ("text", "said"), [("sgd", "a radius"), ("sma", "a radius"), ("sam,asam,usam,rwsam", "at most 3"), ("", "a radius")]
)
def test_variants_that_cannot_be_raced_are_refused(worked, text, said, capsys) -> None:
    assert main(["decide", worked[1], "--variants", text]) == 2
    assert said in capsys.readouterr().err


def test_the_record_read_again_is_what_was_decided(worked, capsys) -> None:
    _, target, _ = worked
    assert main(["decide", target, "--variants", "sam,usam", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (path,) = recorded()
    found = read(path)
    assert found is not None
    assert (found.verdict, found.sentence, found.margin) == ("yes", said["sentence"], 0.005)
    assert {k: [r.means for r in rungs] for k, rungs in found.rungs.items()} == {
        k: [r["means"] for r in rungs] for k, rungs in said["rungs"].items()
    }
    assert finite(plain(found.plan)) == said["plan"]
    assert finite(plain(found.looks)) == said["looks"]
    seeds = 24 * 3 + 12 * 3 + 6 * 6  # by rung: all arms, half of them, a quarter
    assert found.effort["sam"].runs == seeds + found.looks[-1].n * len(found.plan.sam)
    assert found.effort["sam"].gradients == found.effort["sam"].runs * found.effort["sam"].each.gradients > 0
    path.write_text(path.read_text() + '{"what": "loo')
    assert read(path) == found, "a line that is being written"
    path.write_text("no record")
    assert read(path) is None


def test_what_lies_at_the_edge_of_its_grid_is_said() -> None:
    base = of_base(Training())
    arms = list(base.values())
    assert edges(arms[0], arms) == "lr (smallest), epochs (smallest)", "no weight decay is no edge"
    assert edges(arms[-1], arms) == "lr (largest), weight decay (largest), epochs (largest)"
    sam = of_sam(arms[0])
    both = [*arms, *sam.values()]
    assert {edges(arm, both) for arm in sam.values()} == {"ρ (smallest)", "ρ (largest)", ""}


def test_an_interval_has_the_digits_that_its_width_allows() -> None:
    found = [interval(Pair("s", "b", 9, mean, half, 0), "acc") for mean, half in ((0.00442, 0.0041), (0.2, 0.31))]
    assert found == ["+0.44 points [0.03, 0.85]", "+20 points [-11, 51]"]
    assert interval(Pair("s", "b", 9, -1.25, 0.5, 0), "error_rmse") == "-1.25 [-1.75, -0.75]"


def test_targets_that_are_none_are_refused_in_one_line(worked, tmp_path, capsys) -> None:
    for target, said in (("nothing", "nothing"), ("none.py", "none.py"), ("none.json", "cannot read")):
        assert main(["decide", target]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    assert isinstance(SWEEP, SweepSpec)
