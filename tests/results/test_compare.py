"""Two runs' differences, estimator quality, the table of results, weights, and the command line of a sweep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load

from sam_dash import command
from sam_dash.results.files import texts, weights
from sam_dash.results.views import compare, quality, run_curves
from sam_dash.runs import presets
from sam_dash.runs.leases import Leases
from sam_dash.runs.report import Outcome
from sam_dash.runs.spec import Measures, Problem, RunSpec, SweepSpec
from sam_dash.runs.store import Store
from tests.results import frames

A = RunSpec(variant="sam", m=64, seed=1).to_dict()


def test_only_what_differs_is_shown_and_all_on_request() -> None:
    b = RunSpec(variant="sam", m=4, seed=1, knobs={"rho": 0.2}).to_dict()
    frame = compare.settings([A, b])
    assert list(frame["Setting"]) == ["m", "knobs.rho"]
    assert list(frame[["A", "B"]].iloc[0]) == ["64", "4"]
    everything = compare.settings([A, b], only_different=False)
    assert len(everything) > 15
    assert everything["Differs"].sum() == 2


@pytest.mark.parametrize(
    ("b", "words"),
    [
        (RunSpec(variant="sam", m=64, seed=1), "are the same"),
        (RunSpec(variant="sam", m=64, seed=2), "by the seed alone"),
        (RunSpec(variant="sam", m=4, seed=2), "chance is in every difference"),
        (RunSpec(variant="sam", m=4, seed=1), "One pair of runs is one replicate"),
    ],
)
def test_it_is_said_what_a_comparison_of_two_runs_can_show(b: RunSpec, words: str) -> None:
    assert words in compare.sentence(A, b.to_dict())


def test_outcomes_carry_each_estimates_error_and_the_difference() -> None:
    rows = [{"quantity": q, "value": v, "stderr": s} for q, v, s in (("test_acc", 0.7, 0.0), ("tr_H", 90.0, 0.5))]
    b = pd.DataFrame(rows).assign(value=[0.75, 80.0])
    frame = compare.outcomes(pd.DataFrame(rows), b).set_index("Quantity")
    assert list(frame.loc["tr(H)"]) == [90.0, 0.5, 80.0, 0.5, -10.0]
    assert list(frame.loc["Test accuracy (%)"].dropna()) == pytest.approx([70.0, 75.0, 5.0])


def finals(**changes: object) -> pd.DataFrame:
    rows = {
        "run": ["a", "b", "a"], "variant": "sam", "m": 4.0, "seed": [0, 1, 0],
        "quantity": ["lam_max"] * 2 + ["test_acc"],
        "value": [2.0, 4.0, 0.7], "stderr": [0.1, 0.1, 0.0], "method": "Lanczos", "budget": [20, 40, 1],
        "residual": [1e-6, 1e-3, np.nan], "converged": [True, False, True],
    }  # fmt: skip
    return pd.DataFrame(rows | changes)


def test_the_quality_of_an_estimator_is_its_method_budget_error_residual_and_convergence() -> None:
    frame = quality.by_quantity(finals())
    row = quality.table(frame).iloc[0]
    assert len(frame) == 1  # accuracies are exact, no estimates
    assert list(row[:2]) == ["λ_max", "Lanczos"]
    assert list(row[2:]) == pytest.approx([2, 1, 20, 40, 3.75, 5, 1e-3])
    assert "Not converged: 1 of λ_max (hollow in figures)" in quality.finding(frame)
    assert list(quality.unconverged(finals())["run"]) == ["b"]
    assert "All estimates converged" in quality.finding(quality.by_quantity(finals(converged=True)))


def test_exact_and_unstated_errors_are_told_apart() -> None:
    exact, none = (quality.table(quality.by_quantity(finals(stderr=s))).iloc[0] for s in (0.0, np.nan))
    assert exact["Relative error, worst (%)"] == 0
    assert np.isnan(none["Relative error, worst (%)"])


def test_an_estimate_that_has_not_converged_is_hollow_and_nothing_else_is() -> None:
    frame = frames.summary()
    assert not any("open" in str(t.marker.symbol) for t in frames.multiples(frame, "m").data)
    loose = frame.assign(converged=~((frame["m"] == 1) & (frame["quantity"] == "tr_H")))
    lines = [t for t in frames.multiples(loose, "m").data if t.mode == "lines+markers"]
    assert list(lines[0].marker.symbol) == ["diamond-open", "diamond"]
    assert lines[1].marker.symbol == "diamond"


def test_the_results_table_as_markdown_and_latex() -> None:
    table = texts.results(frames.study())
    assert list(table.columns) == ["Variant", "m", "ρ", "Test accuracy (%)", "tr(H)", "n"]
    assert list(table.iloc[1]) == ["SAM", "4", "0.1", "73 ± 25", "72 ± 25", 2]
    markdown = texts.markdown(table, "A caption.")
    assert markdown.splitlines()[0] == "| Variant | m | ρ | Test accuracy (%) | tr(H) | n |"
    latex = texts.latex(table, "40 % noise_x & more")
    assert r"\caption{40 \% noise\_x \& more}" in latex
    assert r"$\operatorname{tr}(H)$" in latex
    assert latex.count(r"\\") == 1 + len(table)
    assert not set(latex) & set("±ρ−λ")


def test_weights_leave_as_safetensors_with_their_specification(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    sweep = SweepSpec(variants=("sgd",), seeds=(0,))
    store.submit(sweep)
    leases = Leases(store)
    keys = leases.claim("x")
    owner, _ = leases.begin(keys, "x")
    assert not store.has_weights(keys[0])
    w = np.arange(5, dtype=np.float32)
    leases.finish(owner, keys[0], Outcome("done", weights=w), 1.0, {})
    assert store.has_weights(keys[0])
    data = weights.safetensors(store, keys[0])
    assert np.array_equal(load(data)["w"], w)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    assert json.loads(header["spec"]) == sweep.runs()[0].to_dict()
    store.close()


DIGITS = presets.get("digits").sweep
WIDE = presets.get("overparameterisation").sweep


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        (DIGITS, "--preset digits"),
        (replace(DIGITS, seeds=(5,)), "--preset digits --seeds=5-5"),
        (replace(DIGITS, m=(64, 1), measures=Measures(what=())), "--preset digits --m=64,1 --measure=none"),
        (
            replace(DIGITS, variants=("rwsam",), knobs={"rho": (0.1,), "normalised": (True, False)}),
            "--preset digits --variants=rwsam --normalised=true,false",
        ),
        (replace(DIGITS, networks=("mlp:4", "mlp:8")), "--preset digits --networks=mlp:4,mlp:8"),
        (replace(WIDE, networks=(), m=(64,)), "--preset overparameterisation --m=64 --network=mlp:4"),
    ],
)
def test_a_sweep_is_said_as_a_command_line(sweep: SweepSpec, line: str) -> None:
    assert command.line(sweep) == f"python -m sam_dash run {line} --out results"


def test_what_options_cannot_say_needs_a_file() -> None:
    moved = replace(DIGITS, problem=Problem(dataset="npz:/nowhere.npz", data_hash="0" * 16))
    assert command.line(moved) is None, "no file of this content is there"


def a_run(m: int, seed: int, values: dict[str, float], status: str = "done", called: str = "") -> compare.Run:
    spec = RunSpec(variant="sam", m=m, seed=seed).to_dict()
    last = pd.DataFrame([{"quantity": q, "value": v, "stderr": 0.0} for q, v in values.items()])
    return compare.Run(f"{m}-{seed}", spec, status, called, last)


ACC = {(64, 0): 0.70, (64, 1): 0.72, (64, 2): 0.71, (4, 0): 0.75, (4, 1): 0.78, (4, 2): 0.75, (4, 7): 0.10}


def test_settings_are_compared_within_the_seeds_that_both_have_and_by_hand() -> None:
    runs = [a_run(m, seed, {"test_acc": acc}) for (m, seed), acc in ACC.items()]
    frame = compare.paired(runs, ["test_acc", "tr_H"])
    (row,) = frame.to_dict("records")
    d = np.array([5.0, 6.0, 4.0])  # points, by seed 0, 1, 2; seed 7 has no partner
    half = 4.302653 * d.std(ddof=1) / 3**0.5  # t_.975 of two degrees of freedom
    assert (row["Setting"], row["Quantity"], row["Seeds"], row["So"]) == (
        "SAM, m = 4, ρ = 0.05",
        "Test accuracy (%)",
        3,
        "more",
    )
    assert [row[k] for k in ("Value", "Reference", "Difference", "Low", "High")] == pytest.approx(
        [76.0, 71.0, 5.0, 5 - half, 5 + half], abs=1e-4
    )


def test_what_is_inside_the_interval_is_a_tie_and_one_seed_has_no_interval() -> None:
    tie = [a_run(m, s, {"test_acc": v}) for m, s, v in ((64, 0, 0.7), (64, 1, 0.8), (4, 0, 0.75), (4, 1, 0.78))]
    assert list(compare.paired(tie, ["test_acc"])["So"]) == ["a tie"]
    assert list(compare.paired(tie[:3], ["test_acc"])["So"]) == ["no interval"]
    less = [a_run(m, s, {"tr_H": v}) for m, s, v in ((64, 0, 9.0), (64, 1, 9.1), (4, 0, 5.0), (4, 1, 5.2))]
    assert list(compare.paired(less, ["tr_H"])["So"]) == ["less"]


def test_only_finished_runs_are_in_a_difference_and_every_run_is_in_the_table() -> None:
    runs = [a_run(64, 0, {"test_acc": 0.7}), a_run(4, 0, {"test_acc": 0.9}, "diverged", "mine")]
    assert compare.paired(runs, ["test_acc"]).empty
    table = compare.finals(runs, ["test_acc"])
    assert list(table[""]) == ["A", "B"]
    assert list(table["Name"]) == ["", "mine"]
    assert list(table["Test accuracy (%)"]) == pytest.approx([70, 90])
    assert runs[1].name == "mine"
    assert runs[0].name == "SAM, m = B = 64, ρ = 0.05, seed 0"
    assert compare.named_apart(runs)[0].name == "SAM, m = B = 64, seed 0"


def test_it_is_said_what_a_comparison_of_several_runs_can_show() -> None:
    run = lambda m, seed: a_run(m, seed, {})  # noqa: E731
    assert "of one setting, SAM, m = 4, ρ = 0.05: what differs between them is chance" in compare.of_several(
        [run(4, 0), run(4, 1)]
    )
    three = [run(4, 0), run(4, 1), run(8, 0)]
    assert compare.of_several(three) == (
        "3 runs of 2 settings, all with seed 0: one replicate, which no interval can be taken of."
    )
    assert "2 seeds are common to all" in compare.of_several([*three, run(8, 1)])
    assert "no seed is common" in compare.of_several([run(4, 0), run(8, 1)])
    other = a_run(4, 0, {})
    other.spec["problem"]["dataset"] = "moons"  # type: ignore[index]
    assert "not comparable" in compare.of_several([*three, other])


def test_the_settings_of_many_runs_stand_side_by_side() -> None:
    specs = [RunSpec(variant="sam", m=m, seed=1).to_dict() for m in (64, 4, 4)]
    frame = compare.settings(specs)
    assert frame.to_dict("records") == [{"Setting": "m", "A": "64", "B": "4", "C": "4", "Differs": True}]


def test_each_run_has_a_line_of_its_own_that_is_its_curve() -> None:
    runs = compare.named_apart([a_run(m, s, {"test_acc": 0.5}) for m in (64, 32, 16, 8) for s in (0, 1)])
    rows = [
        {"run": r.key, "step": 10.0 * e, "epoch": float(e), "quantity": "test_acc", "value": e / 8 + i / 100}
        for i, r in enumerate(runs) for e in range(4)
    ]  # fmt: skip
    at = run_curves.Compared(runs, lambda _: pd.DataFrame(rows), ("test_acc",))
    frame = run_curves.VIEW.frame(at)
    fig = run_curves.VIEW.figure(frame, at, 6)
    assert [t.name[0] for t in fig.data] == list("ABCDEFGH")
    assert [list(t.y) for t in fig.data] == [[e / 8 + i / 100 for e in range(4)] for i in range(8)]
    assert len({(t.line.color, t.line.dash) for t in fig.data}) == len({t.line.color for t in fig.data}) == 8
    assert "n =" not in str(fig.data[0].hovertemplate)
    assert run_curves.VIEW.findings(frame, at) == [
        "Test accuracy ends lowest in A · SAM, m = B = 64, seed 0 (37.5 %), highest in H · SAM, m = 8, seed 1 (44.5 %)."
    ]
    unknown = pd.DataFrame(rows).assign(epoch=np.nan)
    assert run_curves.VIEW.clock(run_curves.Compared(runs, lambda _: unknown, ("test_acc",))) == "Step"
