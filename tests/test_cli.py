"""The command line: one line for what is wrong, a table for what is right, and nothing run twice."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from sam_dash import cli, command, headless
from sam_dash.options import sweeps_of
from sam_dash.runs import launch, presets
from sam_dash.runs.spec import SweepSpec, Training
from sam_dash.runs.store import Store

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "sam_dash"]
QUICK = ["--variants", "sgd,sam", "--m", "64,8", "--seeds", "2", "--epochs", "1", "--network", "mlp:4"]


def sweep(*args):
    (only,) = sweeps_of(cli._parser().parse_args(["run", *args]))
    return only


BAD = {
    "": "the following arguments are required",
    "dance": "invalid choice: 'dance'",
    "run": "either --preset NAME or SPEC.json",
    "run --preset nope": "unknown preset 'nope'; known: digits",
    "run --preset digits spec.json": "either --preset digits or spec.json, not both",
    "paper --only nope": "no recipe 'nope'; there are: paper-scratch",
    "run missing.json": "cannot read 'missing.json'",
    "run broken.json": "'broken.json' is not JSON",
    "run list.json": "expected a JSON object",
    "run unknown.json": "unknown field 'colour'",
    "run --preset digits --bogus": "unrecognized arguments: --bogus",
    "run --preset digits --m 3": "m = 3 does not divide the batch size B = 64",
    "run --preset digits --m x": "--m = 'x': expected a whole number in [1, 4096]",
    "run --preset digits --variants sam,magic": "unknown variant 'magic'",
    "run --preset digits --rho abc": "--rho = 'abc': expected a number in [0, 100]",
    "run --preset digits --rho nan": "expected a number in [0, 100]",
    "run --preset digits --lam .5": "none of sgd, nsam, sam has a knob 'lam'",
    "run --preset digits --lr 1e400": "--lr = '1e400': expected a number in [1e-08, 100]",
    "run --preset digits --norms exactly": "--norms = 'exactly': expected one of one-probe, exact",
    "run --preset digits --nesterov yes": "--nesterov = 'yes': expected true or false",
    "run --preset digits --seeds 3-1": "seeds = '3-1': expected seeds such as 0-4",
    "run --preset digits --seeds 0": "seeds = '0': expected seeds such as 0-4",
    "run --preset digits --seeds 0-99999999999": "1 to 5000 of them",
    "run --preset digits --seeds 1,x,2": "'x' is no seed and no range",
    "run --preset digits --epochs 0": "--epochs = '0': expected a whole number in [1, 10000]",
    "run --preset digits --dataset cifar": "unknown dataset 'cifar'",
    "run --preset digits --npz missing.npz": "missing.npz",
    "run --preset digits --npz broken.json": "cannot be read as a plain .npz",
    "run --preset digits --dataset digits --npz x": "not allowed with argument",
    "run --preset digits --network mlp:x": "network 'mlp:x'",
    "run --preset digits --networks mlp:4,mlp": "network 'mlp'",
    "run --preset digits --network mlp:4 --networks mlp:4,mlp:8": "not allowed with argument",
    "run --preset digits --measure weight": "unknown measure 'weight'",
    "run --preset digits --batch 2048": "fewer than one batch",
    "run --preset digits --workers 0": "--workers: '0': expected a whole number",
    "run --preset digits --store broken.json": "not a database",
    "run --preset digits --store broken.json/x.db": "cannot be opened",
    "run --preset digits --store foo://bar": "cannot be opened",
    "export --store empty.db": "the following arguments are required: --out",
    "export --store empty.db --out . --sweep 123": "no sweep '123' in this store",
    "export --store empty.db --out broken.json": "broken.json",
    "engine --store broken.json": "not a database",
}


@pytest.mark.parametrize("line", BAD)
def test_what_is_wrong_is_said_in_one_line_with_exit_code_2(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "store.db"))
    Path("broken.json").write_text("{,")
    Path("list.json").write_text("[]")
    Path("unknown.json").write_text('{"colour": 1}')
    try:
        code = cli.main(line.split())
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert code == 2
    assert BAD[line] in err
    assert err.count("\n") == 1
    assert out == ""


def test_presets_are_listed_with_their_runs_and_predicted_time(capsys):
    assert cli.main(["presets"]) == 0
    out = capsys.readouterr().out
    for name, preset in presets.PRESETS.items():
        line = f"{name}: {preset.title} ({sum(len(s.runs()) for s in preset.sweeps)} runs, "
        (said,) = [text.removeprefix(line) for text in out.splitlines() if text.startswith(line)]
        assert re.fullmatch(r"[\d.]+ (s|min|h) to [\d.]+ (s|min|h)\)", said)


def test_presets_as_json_say_what_the_list_says(capsys):
    assert cli.main(["presets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {p["name"]: (p["title"], p["about"], p["runs"]) for p in found} == {
        name: (p.title, p.about, sum(len(s.runs()) for s in p.sweeps)) for name, p in presets.PRESETS.items()
    }
    assert all(0 < low < high for low, high in (p["seconds"] for p in found))


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("5", (0, 1, 2, 3, 4)), ("2-4", (2, 3, 4)), ("100-101", (100, 101)), ("3,7", (3, 7)), ("7-7", (7,))],
)
def test_seeds_are_values_and_ranges_or_how_many(text, seeds):
    assert sweep("--preset", "digits", "--seeds", text).seeds == seeds


def test_options_change_their_part_of_the_preset_and_leave_the_rest():
    digits = presets.get("digits").sweep
    changed = sweep("--preset", "digits", "--dataset", "mnist1d")
    assert changed.problem.dataset == "mnist1d"
    assert (changed.m, changed.training, changed.knobs) == (digits.m, digits.training, digits.knobs)
    assert changed.problem.label_noise == digits.problem.label_noise
    full = sweep(
        "--preset", "digits", "--variants", "rwsam,sgd", "--m", "64", "--rho", ".1,.2", "--lam", "0,.5",
        "--norms", "exact", "--normalised", "true,false", "--measure", "none", "--measure-every", "3",
    )  # fmt: skip
    assert full.knobs == {"rho": (0.1, 0.2), "lam": (0, 0.5), "norms": ("exact",), "normalised": (True, False)}
    assert (full.measures.what, full.measures.every) == ((), 3)
    assert sweep("--preset", "digits", "--variants", "sgd").knobs == {}, "rho is the preset's, not the user's"
    assert len(sweep("--preset", "digits", "--variants", "all").variants) >= 6


def test_networks_take_the_place_of_the_presets_and_one_network_that_of_several():
    several = sweep("--preset", "digits", "--networks", "mlp:4,mlp:8")
    assert several.networks == ("mlp:4", "mlp:8")
    assert len(several.runs()) == 2 * len(presets.get("digits").sweep.runs())
    one = sweep("--preset", "overparameterisation", "--network", "mlp:8")
    assert (one.networks, one.problem.network) == ((), "mlp:8")


def test_options_change_every_sweep_of_a_preset_that_has_several_and_equal_ones_are_one():
    def sweeps(*args):
        return sweeps_of(cli._parser().parse_args(["run", "--preset", "heavy-tails", *args]))

    preset = presets.get("heavy-tails")
    assert sweeps() == list(preset.sweeps)
    assert command.preset("heavy-tails") == "python -m sam_dash run --preset heavy-tails --out results"
    line = command.line(preset.sweep)
    assert line is not None
    assert "--preset heavy-tails" not in line, "that would start more"
    assert {s.seeds for s in sweeps("--seeds", "2")} == {(0, 1)}
    assert len(sweeps("--batch", "16", "--m", "16", "--epochs", "2")) == 4, "four learning rates"


def test_a_file_gives_the_sweep_it_describes(tmp_path):
    spec = SweepSpec(variants=("sam",), m=(64, 4), knobs={"rho": (0.2,)}, training=Training(epochs=3))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(spec.to_dict()))
    assert sweep(str(path)) == spec
    assert sweep(str(path), "--epochs", "5").training == Training(epochs=5)


def run(*args, **options):
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, cwd=ROOT, timeout=300, **options)


def test_a_sweep_is_run_once_and_then_taken_from_the_store(tmp_path):
    store, out = ["--store", str(tmp_path / "store.db")], tmp_path / "out"
    first = run("run", "--preset", "digits", *QUICK, *store, "--workers", "1", "--out", str(out))
    assert first.returncode == 0, first.stderr
    assert "6 runs: 0 from the store, 6 to do" in first.stderr
    assert first.stdout.splitlines()[0].split() == [
        "variant", "m", "rho", "n", "test_acc", "%", "train_loss", "tr_H", "lam_max", "tr_V",
    ]  # fmt: skip
    assert len(first.stdout.splitlines()) == 4
    assert first.stdout.count("±") == 3 * 5
    again = run("run", str(out / "config.json"), *store)
    assert again.returncode == 0
    assert "6 runs: 6 from the store, 0 to do" in again.stderr
    assert again.stdout == first.stdout
    told = run("run", str(out / "config.json"), *store, "--json", "--out", str(out))
    assert told.returncode == 0
    answer = json.loads(told.stdout)
    assert (answer["errors"], answer["exit"]) == ({}, 0)
    (study,) = answer["studies"]
    assert all(Path(path).is_file() for path in study["files"])
    written, some = pd.read_csv(out / "runs.csv"), ["run", "status", "seed", "test_acc", "tr_H", "tr_H_se", "seconds"]
    assert [[row[name] for name in some] for row in study["runs"]] == written[some].to_numpy().tolist()
    assert list(study["runs"][0]) == list(written)
    assert [row["m"] for row in study["runs"] if row["variant"] == "sgd"] == [None, None]
    whole = run("export", *store, "--out", str(tmp_path / "all"))
    assert whole.returncode == 0
    both = [(folder / "runs.csv").read_text().splitlines() for folder in (tmp_path / "all", out)]
    assert sorted(both[0]) == sorted(both[1])


def test_a_run_that_diverges_is_one_line_and_exit_code_1(tmp_path):
    spec = SweepSpec(variants=("sgd",), seeds=(0,), training=Training(lr=100.0, weight_decay=10.0, epochs=2))
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_dict()))
    line = ["run", str(tmp_path / "spec.json"), "--store", str(tmp_path / "store.db"), "--workers", "1", "--json"]
    done = run(*line)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["exit"] == 1
    assert answer["errors"][spec.runs()[0].key].startswith("diverged at step ")
    assert f"run {spec.runs()[0].key} (sgd seed=0) diverged: diverged at step " in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_stops_the_runs_and_leaves_quietly(tmp_path):
    path = tmp_path / "store.db"
    args = ["run", "--preset", "digits", "--variants", "sgd", "--seeds", "1", "--epochs", "10000", "--workers", "1"]
    process = subprocess.Popen(
        [*COMMAND, *args, "--store", str(path)], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    limit = time.monotonic() + 120
    store = None
    while store is None or not any(row["step"] for row in store.runs()):
        assert time.monotonic() < limit
        time.sleep(0.2)
        store = store or (Store(path) if path.exists() else None)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert {row["status"] for row in store.runs()} == {"stopped"}
    store.close()


def test_a_ctrl_c_where_python_ignores_exceptions_is_not_lost(tmp_path, monkeypatch):
    class Finalised:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    class Engine:
        alive = True

        def close(self):
            pass

    def rows(*args):
        Finalised()
        return kept(*args)

    kept, handler = headless._rows, signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(headless, "_rows", rows)
    monkeypatch.setattr(launch, "start", lambda *_: Engine())
    store = Store(tmp_path / "store.db")
    with pytest.raises(KeyboardInterrupt):
        headless.run([sweep("--preset", "digits", *QUICK)], store, 1, None)
    assert {row["status"] for row in store.runs()} == {"stopped"}
    assert signal.getsignal(signal.SIGINT) is handler
    store.close()
