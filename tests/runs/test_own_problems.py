"""Runs of a user's own problem file: any network that one can step honestly, any loss, from the file's own start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_dash.problems import card as cards
from sam_dash.problems import listing
from sam_dash.problems.arrays import DataError
from sam_dash.problems.card import card
from sam_dash.problems.listing import PROBLEMS
from sam_dash.problems.own import load
from sam_dash.problems.problem import Problem
from sam_dash.problems.source import of_file
from sam_dash.problems.stack import of, stack
from sam_dash.runs import any_module, cost, describe
from sam_dash.runs.fastest import fastest
from sam_dash.runs.report import Measurement, Report
from sam_dash.runs.spec import Measures, RunSpec, SpecError, Training
from sam_dash.runs.train import train

DIGITS = """\
import torch
from sam_dash.problems.datasets import load
from sam_dash.problems.networks import build, initialise

def data():
    return load("digits")

def network():
    module = build("mlp:16", (64,), 10)
    initialise(module, torch.Generator().manual_seed(torch.initial_seed()))
    return module

loss = "cross_entropy"
"""

SMALL = """\
import torch
from torch import nn

def data():
    g = torch.Generator().manual_seed(1)
    x = {x}
    y = {y}
    return x[:16], y[:16], x[16:], y[16:]

{network}
{loss}
"""
X, LABELS = "torch.randn(24, 4, generator=g)", "torch.randint(0, 3, (24,), generator=g)"
TOKENS = "torch.randint(0, 7, (24, 5), generator=g)"
GRU = """\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.gru, self.head = nn.Embedding(7, 6), nn.GRU(6, 8, batch_first=True), nn.Linear(8, 3)
    def forward(self, x):
        return self.head(self.gru(self.embedding(x))[0][:, -1])
network = Network
"""
ATTENTION = """\
def network():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Embedding(7, 8), layer, nn.Linear(8, 7))
"""
PERCEPTRON = "def network():\n    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, {0}))\n"
SMOOTH = "def network():\n    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))\n"
CASES: dict[str, dict[str, str]] = {
    "perceptron": {"network": PERCEPTRON.format(3)},
    "smooth": {"network": SMOOTH},
    "own loss": {"network": SMOOTH, "loss": "def loss(o, y):\n    return o.logsumexp(1) - .9 * o[range(len(o)), y]"},
    "regression": {"network": PERCEPTRON.format(2), "y": "x[:, :2].sin()", "loss": "loss = 'mse'"},
    "yes or no": {"network": PERCEPTRON.format(1), "y": "(x[:, 0] > 0).float()", "loss": "loss = 'bce'"},
    "recurrent": {"network": GRU, "x": TOKENS},
    "tokens": {"network": ATTENTION, "x": TOKENS, "y": "x.roll(-1, 1)", "loss": "loss = 'token_cross_entropy'"},
    "frozen": {"network": SMOOTH.replace("return", "out =") + "    out[0].bias.requires_grad_(False)\n"
               "    nn.init.zeros_(out[0].bias)\n    return out\n"},
}  # fmt: skip


def small(folder: Path, case: str, more: str = "") -> Path:
    parts = {"x": X, "y": LABELS, "loss": "loss = 'cross_entropy'"} | CASES[case]
    path = folder / "mine.py"
    path.write_text(SMALL.format(**parts) + more)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards without a process, of files of the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(PROBLEMS, str(tmp_path))

    def described(path: Path) -> dict[str, Any]:
        own = load(path)
        return {"card": vars(describe.describe(own, 0.0)), "files": list(map(str, own.files))}

    monkeypatch.setattr(cards, "describe", described)


def trained(*specs: RunSpec) -> tuple[list[Any], list[dict[str, float]]]:
    """The outcomes of a stack of runs, and what was measured at the last look of each."""
    found: list[dict[str, float]] = [{} for _ in specs]

    def listen(report: Report) -> set[int]:
        for values, rows in zip(found, report.measurements, strict=True):
            values |= {m.quantity: m.value for m in rows if isinstance(m, Measurement)}
        return set()

    return train(specs, listen, "cpu"), found


def spec(path: Path, variant: str = "sam", m: int | None = None, seed: int = 0, **more: Any) -> RunSpec:
    return RunSpec(
        variant=variant, m=m, seed=seed, problem=Problem(dataset=f"file:{path}", **more),
        training=Training(batch=8, epochs=2, lr=0.05), measures=Measures(what=("trace", "lam_max", "noise", "ascent")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "key"), [("bce", "acc"), ("mse", "error_RMSE"), ("lambda o, y: (o - y).square()", None)]
)
def test_one_output_without_a_column_of_its_own_has_the_score_of_its_loss(tmp_path: Path, loss: str, key: str) -> None:
    CASES["one"] = {
        "network": PERCEPTRON.format("1), nn.Flatten(0"), "y": "(x[:, 0] > 0).float()",
        "loss": f"loss = {loss if key is None else repr(loss)}",
    }  # fmt: skip
    score = load(small(tmp_path, "one")).score
    assert (score and score.key) == key


@pytest.mark.parametrize(("variant", "m"), [("sgd", None), ("sam", 50), ("sam", 5), ("nsam", None), ("rwsam", 50)])
def test_the_digits_as_a_problem_file_give_the_numbers_of_the_built_in_ones_bit_for_bit(
    tmp_path: Path, variant: str, m: int | None
) -> None:
    path = tmp_path / "digits.py"
    path.write_text(DIGITS)
    both = [Problem(network="mlp:16", label_noise=0.4), Problem(dataset=f"file:{path}", label_noise=0.4)]
    training, measures = Training(batch=50, epochs=2), Measures(what=("trace", "lam_max", "noise"))
    ends = []
    for problem in both:
        runs = [
            RunSpec(variant=variant, m=m, seed=s, problem=problem, training=training, measures=measures) for s in (0, 7)
        ]
        ends.append(trained(*runs))
    (ours, found), (own, again) = ends
    for a, b, values, others in zip(ours, own, found, again, strict=True):
        assert (a.weights == b.weights).all()
        assert (a.status, a.path) == (b.status, b.path)
        assert values | {"train_seconds": 0} == others | {"train_seconds": 0}


WAYS = {
    "perceptron": ("chain", "chain"), "smooth": ("eager", "factored"), "own loss": ("eager", "intercepted"),
    "regression": ("chain", "chain"), "yes or no": ("chain", "chain"), "recurrent": ("eager", "looped"),
    "tokens": ("eager", "intercepted"), "frozen": ("eager", "intercepted"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_step_of_any_network_and_loss_is_that_of_a_loop_by_hand(tmp_path: Path, case: str) -> None:
    """The fast ways are where they can be; the loop perturbs and restores the module's own parameters."""
    runs = of(of_file(load(small(tmp_path, case))), Problem(), [0, 3], torch.device("cpu"))
    for m, way in zip((8, 2), WAYS[case], strict=True):
        specs = [RunSpec(variant="sam", m=m, seed=s, knobs={"rho": 0.1}, training=Training(batch=8)) for s in (0, 3)]
        stepper = fastest(runs, specs)
        assert stepper.path == way
        first = any_module.steppers.start(runs, specs[0])
        h = stepper.take(*first)[0].h
        for s in range(2):
            x, y = first[2].batch[0][s], first[2].batch[1][s]
            by_hand = torch.stack([naive(runs, runs.w0[s], x[i : i + m], y[i : i + m]) for i in range(0, 8, m)]).mean(0)
            assert torch.allclose(h[s], by_hand, rtol=1e-3, atol=1e-5)


def naive(runs: Any, w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    module = runs.module
    parameters = [p for p in module.parameters() if p.requires_grad]

    def grad(at: torch.Tensor) -> torch.Tensor:
        torch.nn.utils.vector_to_parameters(at, parameters)
        loss = runs.loss(module(x), y).mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

    g = grad(w)
    return grad(w + 0.1 * g / g.norm())


@pytest.mark.parametrize("case", CASES)
def test_a_run_on_any_problem_file_ends_with_its_losses_scores_and_sharpness(tmp_path: Path, case: str) -> None:
    runs = [spec(small(tmp_path, case), m=2, seed=seed) for seed in (0, 1)]
    outcomes, found = trained(*runs)
    again, _ = trained(runs[1])
    assert [o.status for o in outcomes] == ["done", "done"]
    assert np.allclose(again[0].weights, outcomes[1].weights, rtol=1e-4, atol=1e-6), "whatever is stacked beside it"
    assert not (outcomes[0].weights == outcomes[1].weights).all()
    score = {"regression": "error_RMSE", "tokens": None}.get(case, "acc")
    asked = {f"{part}_{score}" for part in ("train", "test") if score}
    assert {"train_loss", "test_loss", "tr_H", "lam_max", "tr_V", "asc_H", *asked} <= set(found[0])
    assert (f"clean_train_{score}" in found[0]) == (score == "acc" and case != "yes or no")
    if case == "regression":
        assert found[0]["test_error_RMSE"] == pytest.approx(found[0]["test_loss"] ** 0.5)
    assert cost.seconds(runs[0], 2) > 0
    assert runs[0].problem.samples == 16


def test_a_score_of_ones_own_is_the_mean_over_the_samples(tmp_path: Path) -> None:
    more = "def score(o, y):\n    return (o - y).abs().mean(1)\nscore_name, better = 'MAE', 'lower'\n"
    more = more.replace("score_name, better = 'MAE', 'lower'", "score_name = 'MAE'\nbetter = 'lower'")
    outcomes, found = trained(spec(small(tmp_path, "regression", more), "sgd"))
    own = load(tmp_path / "mine.py")
    module = own.network(0)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(outcomes[0].weights), module.parameters())
    by_hand = float((module(own.x_test) - own.y_test).detach().abs().mean())
    assert found[0]["test_error_MAE"] == pytest.approx(by_hand, rel=1e-5)
    assert "test_error_RMSE" not in found[0]


def test_an_augmentation_is_of_training_inputs_alone_and_a_seed_determines_it(tmp_path: Path) -> None:
    path = small(
        tmp_path, "smooth", "def augment(x, generator):\n    return x + torch.randn(x.shape, generator=generator)\n"
    )
    a, b, other = (trained(spec(path, "sgd", seed=s)) for s in (0, 0, 1))
    assert (a[0][0].weights == b[0][0].weights).all()
    assert not np.allclose(a[0][0].weights, other[0][0].weights)
    plain = trained(spec(small(tmp_path, "smooth"), "sgd"))
    assert not np.allclose(a[0][0].weights, plain[0][0].weights, rtol=1e-3)
    still = small(tmp_path, "smooth", "def augment(x, generator):\n    return x * 1\n")
    assert (trained(spec(still, "sgd"))[0][0].weights == plain[0][0].weights).all()


def test_what_is_about_classes_is_refused_where_labels_are_numbers(tmp_path: Path) -> None:
    path = small(tmp_path, "regression")
    for wrong in ({"label_noise": 0.2}, {"imbalance": 5.0}, {"start": "memorised"}):
        with pytest.raises(SpecError, match=r"is about classes, and the labels of mine\.py are numbers"):
            spec(path, **wrong)
    with pytest.raises(SpecError, match="Focal-SAM weighs classes by their size, and the labels of"):
        spec(path, "focalsam")


def test_classes_of_a_file_take_label_noise_a_long_tail_and_a_memorised_start(tmp_path: Path) -> None:
    path = small(tmp_path, "perceptron")
    noisy = stack(Problem(dataset=f"file:{path}", label_noise=0.5), [0, 1], torch.device("cpu"))
    assert ((noisy.y != noisy.y_clean).sum(1) == 8).all()
    assert not torch.equal(noisy.y[0], noisy.y[1])
    assert trained(spec(path, start="memorised"))[0][0].status == "done"
    _, found = trained(replace(spec(path, "sgd", imbalance=2.0), training=Training(batch=4, epochs=1)))
    assert any(q.startswith("test_acc@class=") for q in found[0])


def test_what_a_file_has_itself_is_not_asked_for(tmp_path: Path) -> None:
    path = small(tmp_path, "perceptron")
    for wrong, said in (
        ({"network": "mlp:16"}, r"network = mlp:16: mine\.py brings its own"),
        ({"scaling": "standardise"}, r"scaling = standardise: mine\.py scales its data itself"),
        ({"start": "pretrained"}, "start = pretrained draws a last layer anew"),
        ({"n_train": 17}, "n_train = 17: mine.py has only 16 training samples"),
    ):
        with pytest.raises(SpecError, match=said):
            spec(path, **wrong)


def test_a_changed_file_makes_new_runs_and_refuses_old_ones(tmp_path: Path) -> None:
    old = spec(small(tmp_path, "smooth"))
    new = spec(small(tmp_path, "smooth", "# one line more\n"))
    assert old.key != new.key
    assert old.key == spec(small(tmp_path, "smooth")).key
    small(tmp_path, "smooth", "# one line more\n")
    again = RunSpec(**{**old.to_dict(), "problem": Problem(**old.to_dict()["problem"])})
    assert again.key == old.key, "what is stored can be read and shown"
    assert again.problem.samples is None
    for wanted in (lambda: trained(again), lambda: cost.seconds(again, 1)):
        with pytest.raises(ValueError, match=r"mine\.py has changed since this run was specified; start a new sweep"):
            wanted()


def test_only_files_that_were_put_there_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, "smooth", "import pathlib; pathlib.Path('was run').touch()\n")
    old = spec(path)
    (tmp_path / "was run").unlink()
    cards._KNOWN.clear()
    for elsewhere in ("", str(tmp_path / "other"), str(tmp_path / "other.py")):
        monkeypatch.setenv(PROBLEMS, elsewhere)
        for refused in (
            lambda: spec(path), lambda: trained(old), lambda: Problem(**old.to_dict()["problem"]).data,
        ):  # fmt: skip
            with pytest.raises(ValueError, match="is not one of the problem files here, and is not run"):
                refused()
        assert Problem(**old.to_dict()["problem"]).card is None
    assert not (tmp_path / "was run").exists()
    monkeypatch.setenv(PROBLEMS, str(path))
    assert spec(path).key == old.key


def test_the_files_of_a_folder_are_those_that_are_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, "smooth")
    (tmp_path / "helper.py").write_text("x = 1\n")
    (tmp_path / "torn.py").write_text("def data(:\n")
    assert listing.listed() == [path]
    monkeypatch.setenv(PROBLEMS, f"{tmp_path / 'torn.py'}")
    assert listing.listed() == [tmp_path / "torn.py"], "what is named is shown, with what is wrong"


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("def network():\n    return nn.Linear(4, 3 + int(torch.rand(()) < .5))", "network() gives other parameters"),
        ("def network():\n    out = nn.Linear(4, 3)\n    out.bias.requires_grad_(False)\n    return out",
         "'bias', which is not trained, differs between seeds"),
    ],
)  # fmt: skip
def test_networks_that_are_not_the_same_for_all_seeds_are_refused(tmp_path: Path, network: str, said: str) -> None:
    CASES["changing"] = {"network": network, "y": "torch.zeros(24).long()"}
    path = small(tmp_path, "changing")
    del CASES["changing"]
    source = of_file(load(path))
    with pytest.raises(DataError) as caught:
        of(source, Problem(), range(20), torch.device("cpu"))
    assert said in str(caught.value)


def test_measurements_that_torch_cannot_differentiate_are_refused_at_once(tmp_path: Path) -> None:
    normed = "nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 3)"
    CASES["normed"] = {"network": f"def network():\n    return nn.Sequential({normed})"}
    path = small(tmp_path, "normed")
    del CASES["normed"]
    assert "not symmetric" in card(path).wrong
    with pytest.raises(SpecError, match=r"trace, lam_max, ascent needs second derivatives of .*; choose of noise"):
        spec(path)
    first = Measures(what=("noise", "m_sharpness"))
    assert RunSpec(variant="sgd", problem=Problem(dataset=f"file:{path}"), training=Training(batch=8), measures=first)


def test_the_card_says_what_was_found_and_how_steps_will_be_taken(tmp_path: Path) -> None:
    found = card(small(tmp_path, "perceptron"))
    assert (found.widths, found.ways, found.parameters, found.layers) == (
        (8,),
        ("chain", "chain"),
        67,
        {"0": 40, "2": 27},
    )
    assert found.work == pytest.approx(4 * 8 + 8 * 3, abs=11)
    assert not found.smooth
    assert cost.dearer(Problem(dataset=f"file:{tmp_path / 'mine.py'}")) == 1
    found = card(small(tmp_path, "recurrent"))
    assert found.smooth
    assert cost.dearer(Problem(dataset=f"file:{tmp_path / 'mine.py'}")) == cost.SMOOTH_FILE
    assert (found.widths, found.ways, found.kind, found.shape) == ((), ("eager", "looped"), "int64", (5,))
