"""Whatever the form can hold is refused in words before anything is queued, or it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_dash import variants
from sam_dash.problems.arrays import SCALINGS
from sam_dash.problems.problem import STARTS
from sam_dash.runs import memorise, pretrain
from sam_dash.runs.spec import Measures, Problem, RunSpec, SpecError, Training
from sam_dash.runs.train import train

SHAPES = [(3,), (5, 5), (7, 2, 4), (1, 4, 4), (2, 5, 6), (1, 3, 9), (28, 28), (1, 1, 1, 4)]
NETWORKS = ["mlp:3", "mlp:4-3", "cnn:2", "resnet18:8", "mlp:0", "cnn:2-3", "vit:2", "vit:4", "transformer:4", ""]


@st.composite
def drawn(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "shape": draw(st.sampled_from(SHAPES)), "n": draw(st.integers(1, 80)), "tests": draw(st.integers(1, 12)),
        "classes": draw(st.integers(1, 5)), "network": draw(st.sampled_from(["mlp:3"] * 8 + NETWORKS)),
        "problem": {
            "n_train": draw(st.sampled_from([0] * 6 + [1, 20, 99])),
            "label_noise": draw(st.sampled_from([0, 0.4, 0.95])),
            "start": draw(st.sampled_from(STARTS)), "imbalance": draw(st.sampled_from([1, 1, 1, 3, 10_000])),
            "scaling": draw(st.sampled_from([*SCALINGS] * 2 + ["none"] * 8)),
        },
        "batch": draw(st.sampled_from([1, 2, 4, 30])), "variant": draw(st.sampled_from(list(variants.REGISTRY))),
    }  # fmt: skip


@pytest.mark.timeout(280)
def test_a_specification_is_refused_in_a_sentence_or_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorise, "EPOCHS", 1)
    monkeypatch.setattr(pretrain, "EPOCHS", 1)

    refused: list[str] = []
    trained: list[RunSpec] = []

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(drawn())
    def holds(d: dict[str, Any]) -> None:
        rng = np.random.default_rng(0)
        path = tmp_path / f"{len(refused) + len(trained)}.npz"
        parts = {"train": d["n"], "test": d["tests"]}
        x = {f"x_{part}": rng.normal(size=(n, *d["shape"])) for part, n in parts.items()}
        y = {f"y_{part}": rng.integers(0, d["classes"], n) for part, n in parts.items()}
        np.savez(path, **x, **y)
        try:
            problem = Problem(dataset=f"npz:{path}", network=d["network"], **d["problem"])
            spec = RunSpec(
                variant=d["variant"], problem=problem, training=Training(batch=d["batch"], epochs=1, lr=0.01),
                measures=Measures(what=()),
            )  # fmt: skip
        except SpecError as error:
            refused.append(str(error))
            return
        trained.append(spec)
        steps: list[int] = []
        (outcome,) = train([spec], lambda report: steps.append(report.step) or set())
        assert outcome.status in ("done", "diverged")
        assert steps[-1] == (problem.samples or 0) // d["batch"] or outcome.status == "diverged"

    holds()
    assert len(trained) >= 10
    assert len(set(refused)) >= 10
    assert [text for text in refused if len(text.split()) < 4] == []
