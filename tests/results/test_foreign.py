"""Runs of other tools come in by CSV: what is in it and no more, under our names; what is wrong with it in one line."""

from __future__ import annotations

import numpy as np
import pytest

from sam_dash import cli
from sam_dash.results.files import foreign
from sam_dash.results.numbers import recorded
from sam_dash.results.numbers import study as studies
from sam_dash.runs.merge import merge
from sam_dash.runs.spec import SpecError
from sam_dash.runs.store import Store

HISTORY = """run,_step,optimizer,m,rho,seed,train/loss,val/acc,grad norm,eps_norm
a,0,SAM,8,0.1,0,2.5,,1,0.1
a,10,SAM,8,0.1,0,1.5,50.5,2,
a,20,SAM,8,0.1,0,0.5,,,0.3
b,0,sgd,,,1,2.25,,1,
b,10,sgd,,,1,1.25,40,2,
c,0,Friendly-SAM,8,0.1,0,2,10,3,
"""
FINALS = "method,m,seed,test_acc\nsam,8,0,0.9\nsam,8,1,0.8\nsam,4,0,0.95\n"


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "store.db")
    yield found
    found.close()


def take(store: Store, text: str, columns: dict[str, str] | None = None, **said) -> studies.Study:
    table = foreign.table("history.csv", text.encode())
    found = foreign.read(table, columns or foreign.guess(table.columns), "theirs", **said)
    merged = merge(store, [found.study], found.runs, source=table.name)
    return studies.from_store(store, merged.sweeps[0])


def test_columns_are_known_by_their_usual_names() -> None:
    assert foreign.guess(HISTORY.partition("\n")[0].split(",")) == {
        "run": "run", "step": "_step", "variant": "optimizer", "m": "m", "rho": "rho", "seed": "seed",
        "train_loss": "train/loss", "test_acc": "val/acc", "eps_norm": "eps_norm",
    }  # fmt: skip
    assert foreign.guess(["Loss", "Accuracy", "tr_h", "other"]) == {
        "train_loss": "Loss", "test_acc": "Accuracy", "tr_H": "tr_h",
    }  # fmt: skip


def test_a_history_is_runs_with_curves_marked_as_recorded_elsewhere(store) -> None:
    study = take(store, HISTORY)
    runs = {r.name: r for r in study.spec.runs()}
    assert {name: (r.variant, r.m, dict(r.knobs), r.seed) for name, r in runs.items()} == {
        "a": ("sam", 8, {"rho": 0.1}, 0), "b": ("sgd", None, {}, 1), "c": ("Friendly-SAM", 8, {"rho": 0.1}, 0),
    }  # fmt: skip
    assert {r.source for r in runs.values()} == {"history.csv"}
    rows = store.measurements(keys=[runs["a"].key])
    found = [(m["quantity"], m["step"], m["value"]) for m in rows]
    assert sorted(found) == [
        ("test_acc", 10, 0.505), ("train_loss", 0, 2.5), ("train_loss", 10, 1.5), ("train_loss", 20, 0.5),
    ]  # fmt: skip
    assert {m["method"] for m in rows} == {"recorded elsewhere"}
    eps = store.series([runs["a"].key])[runs["a"].key]["eps_norm"]
    assert np.flatnonzero(~np.isnan(eps)).tolist() == [0, 20]
    finals = study.finals.set_index(["run", "quantity"])["value"]
    assert finals[runs["a"].key, "test_acc"] == 0.505
    assert finals[runs["a"].key, "train_loss"] == 0.5
    assert finals[runs["b"].key, "test_acc"] == 0.4
    assert len(recorded.stored(store, [runs["b"].key], ["train_loss"], 1.0, 100)) == 2


def test_without_steps_a_row_is_the_final_values_of_a_run(store) -> None:
    study = take(store, FINALS)
    assert sorted(zip(study.finals["m"], study.finals["seed"], study.finals["value"], strict=True)) == [
        (4, 0, 0.95), (8, 0, 0.9), (8, 1, 0.8),
    ]  # fmt: skip


def test_without_a_column_of_runs_rows_are_told_apart_by_what_they_say(store) -> None:
    text = "step,seed,m,loss\n0,0,8,2\n0,1,8,3\n1,0,8,1\n1,1,8,1.5\n"
    study = take(store, text, {"step": "step", "seed": "seed", "m": "m", "train_loss": "loss"}, said={"variant": "sam"})
    assert sorted(zip(study.finals["seed"], study.finals["value"], strict=True)) == [(0, 1), (1, 1.5)]
    assert set(study.runs["variant"]) == {"sam"}
    alone = take(store, "step,f1\n0,.1\n5,.2\n", {"step": "step", "f1": "f1"})
    assert len(alone.runs) >= 1


def test_runs_of_one_setting_without_a_seed_are_numbered_and_it_is_said() -> None:
    table = foreign.table("h.csv", b"run,m,f\na,8,1\nb,8,2\nc,4,3\n")
    columns = {"run": "run", "m": "m", "f": "f"}
    found = foreign.read(table, columns, "s", {"variant": "sam"})
    assert [(r.m, r.seed) for r in found.study.runs()] == [(8, 0), (8, 1), (4, 0)]
    assert found.notes == ["no column is a seed: runs of one setting are numbered in its place"]
    assert [r.seed for r in foreign.read(table, columns, "s", {"variant": "sam", "seed": "3"}).study.runs()] == [
        3,
        3,
        3,
    ]


def test_a_file_taken_in_twice_is_there_once(store) -> None:
    table = foreign.table("history.csv", HISTORY.encode())
    found = foreign.read(table, foreign.guess(table.columns), "theirs")
    assert len(merge(store, [found.study], found.runs).new) == 3
    again = foreign.read(table, foreign.guess(table.columns), "theirs")
    assert merge(store, [again.study], again.runs).new == []
    assert len(store.sweep(found.study.key).runs()) == 3


def test_accuracies_above_one_are_per_cent_and_it_is_said() -> None:
    table = foreign.table("h.csv", b"acc\n93.5\n1\n")
    found = foreign.read(table, {"test_acc": "acc"}, "s")
    assert [m.value for f in found.runs for m in f.measurements] == [0.935, 0.01]
    assert found.notes[0] == "'acc' reaches 93.5 and was taken as per cent"
    shares = foreign.read(foreign.table("h.csv", b"acc\n1.0\n0.5\n"), {"test_acc": "acc"}, "s")
    assert [m.value for f in shares.runs for m in f.measurements] == [1.0, 0.5]
    assert not any("per cent" in note for note in shares.notes)


BAD = {
    "no rows": ("a,b\n", {"test_acc": "a"}, {}, "no rows under a line with the names"),
    "nothing": ("", {"test_acc": "a"}, {}, "cannot be read as CSV"),
    "ragged": ("a,b\n1\n2,3,4,5\n", {"test_acc": "a"}, {}, "cannot be read as CSV"),
    "a picture": ("\x89PNG\r\n\x1a\n\x00\x00", {"test_acc": "a"}, {}, "f.csv"),
    "no such column": ("a,b\n1,2\n", {"test_acc": "c"}, {}, "has no column 'c'; it has a, b"),
    "no quantity": ("seed,b\n1,2\n", {"seed": "seed"}, {}, "no column is a quantity; name one, such as test_acc=b"),
    "no name": ("a\n1\n", {"two words": "a"}, {}, "'two words': expected the name of a quantity"),
    "text": ("a\n1\nhigh\n", {"test_acc": "a"}, {}, "column 'a', line 3: 'high' is no number"),
    "no share": ("a\n1\n250\n", {"test_acc": "a"}, {}, "no share and no per cent"),
    "half a step": ("step,a\n0.5,1\n", {"step": "step", "f": "a"}, {}, "column 'step': expected whole numbers"),
    "no step": ("step,a\n,1\n", {"step": "step", "f": "a"}, {}, "column 'step': expected whole numbers"),
    "two m": ("run,step,m,f\na,0,8,1\na,1,4,1\n", None, {}, "run 'a' has several values of 'm': 8, 4"),
    "half an m": ("m,f\n2.5,1\n", {"m": "m", "f": "f"}, {"variant": "sam"}, "m = 2.5: expected a whole number"),
    "no seed": ("seed,f\nx,1\n", {"seed": "seed", "f": "f"}, {}, "seed = 'x' is no number"),
    "no rho": ("rho,f\n-1,1\n", {"rho": "rho", "f": "f"}, {"variant": "sam"}, "rho = -1"),
    "said twice": ("m,f\n2,1\n", {"m": "m", "f": "f"}, {"m": "4"}, "'m' is said for all rows"),
    "said at all": ("m,f\n2,1\n", {"m": "m", "f": "f"}, {"step": "4"}, "'step' is said for all rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_file_is_said_in_one_line(case) -> None:
    text, columns, said, what = BAD[case]
    with pytest.raises(SpecError) as refused:  # noqa: PT012
        table = foreign.table("f.csv", text.encode("latin-1"))
        columns = columns or {**foreign.guess(table.columns), "f": "f"}
        foreign.read(table, columns, "s", said)
    assert what in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command_line_takes_in_a_csv_and_says_what_it_took_for_what(tmp_path, capsys) -> None:
    (tmp_path / "theirs.csv").write_text(HISTORY)
    where = ["--store", str(tmp_path / "store.db")]
    assert cli.main(["import", str(tmp_path / "theirs.csv"), *where]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("3 runs taken in, 0 were there already: r")
    assert "'val/acc' reaches 50.5 and was taken as per cent" in told.err
    assert "test_acc is 'val/acc'" in told.err
    columns = "run=run,step=_step,g_norm=grad norm"
    assert cli.main(["import", str(tmp_path / "theirs.csv"), *where, "--columns", columns, "--set", "variant=sam"]) == 0
    assert capsys.readouterr().out.startswith("3 runs taken in")
    for wrong in (["--columns", "x"], ["--columns", "test_acc=nope"], ["--set", "variant"], ["--set", "colour=red"]):
        assert cli.main(["import", str(tmp_path / "theirs.csv"), *where, *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["import", str(tmp_path / "missing.csv"), *where]) == 2
