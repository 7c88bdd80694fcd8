"""The auditor against loops of known truth, on 1, 2 and 4 ranks; and on both sides of its rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sam_dash.audit.report import AMBER, RED
from tests.audit.on_ranks import STEPS, audited
from tests.audit.zoo import ZOO
from tests.ranks import found_on

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """By size: what every rank found of every loop."""
    alone = {name: audited(name) for name, truth in ZOO.items() if 1 in truth.sizes}
    return {1: [alone], **found_on("tests.audit.on_ranks", tmp_path_factory.mktemp("ranks"), (2, 4))}


CASES = [(name, size) for name, truth in ZOO.items() for size in truth.sizes]


@pytest.mark.parametrize(("name", "size"), CASES, ids=[f"{name}, {size}" for name, size in CASES])
def test_every_line_of_a_report_is_right_or_says_that_it_cannot_be_told(reports, name: str, size: int) -> None:
    truth, every = ZOO[name], [of[name][0] for of in reports[size]]
    report = every[0]
    assert all(of == report for of in every), "the same on every rank"
    said = str(report)
    assert report.m == truth.m(size), said
    assert (report.ranks, report.steps) == (size, STEPS)
    assert report.common == (truth.common if size > 1 else None), said
    if truth.rho is not None:
        assert len(report.rho) == size
        assert report.rho == pytest.approx([truth.rho] * size, rel=1e-4), said
    if truth.left is not None:
        assert report.left == pytest.approx(truth.left, rel=1e-3), said
    assert truth.descended in report.line("descended").found, said
    if "ε is along" in {line.what for line in report.lines}:
        assert truth.along in report.line("ε is along").found, said
    assert {line.what for line in report.lines if line.light == RED} == truth.red, said
    assert {line.what for line in report.lines if line.light == AMBER} - {"ranks"} == truth.amber, said
    for what, words in truth.said:
        line = report.line(what)
        assert words in " ".join((line.found, line.change, line.evidence)), said
    assert json.loads(report.to_json())["m"] == report.m


@pytest.mark.parametrize(("name", "size"), CASES, ids=[f"{name}, {size}" for name, size in CASES])
def test_a_watched_loop_goes_as_an_unwatched_one_and_a_report_changes_nothing(reports, name: str, size: int) -> None:
    assert all(of[name][1] for of in reports[size])


def test_the_table_of_the_docs_is_what_is_found(reports) -> None:
    text = (ROOT / "docs/audit.md").read_text(encoding="utf-8").split("## The zoo")[1]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    found = {}
    for name, truth in ZOO.items():
        at = {size: reports[size][0][name][0] for size in truth.sizes}
        m = ", ".join(str(at[R].m or "–") if R in at else "·" for R in (1, 2, 4))
        lights = [
            {line.what for of in at.values() for line in of.lines if line.light == light} - {"ranks"}
            for light in (RED, AMBER)
        ]
        found[name.replace("_", " ")] = [m, *(", ".join(sorted(of)) or "–" for of in lights)]
    assert {name: rest for name, *rest in rows} == found
