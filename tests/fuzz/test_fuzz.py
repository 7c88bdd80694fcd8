"""Random modules: fifty, and whether what draws and judges them does so."""

from __future__ import annotations

import functools

import pytest
import torch

from sam_dash.maths.live import Live
from tests.fuzz.__main__ import main, outcome
from tests.fuzz.grammar import KINDS, KNOBS, LOSSES, Case, Node, drawn
from tests.fuzz.layers import LAYERS, WRAPPERS

found = functools.cache(lambda number: outcome(drawn(number)))


@pytest.mark.parametrize("number", range(50))
def test_a_random_module_is_trained_as_by_hand_or_refused_with_a_reason(number) -> None:
    kind, said = found(number)
    assert not kind, f"{said}: python -m tests.fuzz --case {str(drawn(number))!r}"


def test_among_the_fifty_are_all_ways_and_few_refusals() -> None:
    said = [found(number)[1] for number in range(50)]
    assert {way for ways in said for way in ways.split("; ") if not ways.startswith("refused")} >= {
        "plain", "looped", "chain", "factored", "intercepted", "vmapped", "plain, 2 batches together",
    }  # fmt: skip
    assert sum(ways.startswith("refused") for ways in said) <= 12


def test_five_hundred_have_every_layer_wrapper_variant_and_loss() -> None:
    cases = [drawn(number) for number in range(500)]
    seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for node in (Node.read(case.module) for case in cases):
        seen[node.name] |= set(node.names())
    assert set.union(*seen.values()) >= set(WRAPPERS)
    for kind, layers in LAYERS.items():
        assert seen[kind] >= set(layers), kind
    assert {case.variant for case in cases} == set(KNOBS)
    assert {case.loss for case in cases} == set(LOSSES)
    assert {case.m for case in cases} == {None, 1, 2, 3, 4, 6}


def test_a_case_is_its_text_and_the_same_at_every_call() -> None:
    for case in map(drawn, range(50)):
        assert Case.read(str(case)) == case
        for a, b in zip(case.build().parameters(), case.build().parameters(), strict=True):
            assert torch.equal(a, b)


def test_a_slip_is_found_and_told_with_the_smallest_case_that_has_it(monkeypatch, capsys) -> None:
    right = Live.flat

    def wrong(self, grads, w):
        slip = any(isinstance(part, torch.nn.Tanh) for part in self.module.modules())
        return right(self, grads, w) * (1 + 1e-5 * slip)

    monkeypatch.setattr(Live, "flat", wrong)
    text = str(
        Case(7, "sequences(gelu, nested(linear, hooked(tanh)), attention)", m=4, steps=3, base="adamw", clip=0.1)
    )
    assert main(["--case", text]) == 1
    assert "smallest found:\nCase(seed=7, module='sequences(tanh)'" in capsys.readouterr().out
    monkeypatch.undo()
    assert main(["--case", text]) == 0
    assert "1 modules: 3 plain" in capsys.readouterr().out
