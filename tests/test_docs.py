"""The documentation is true: generated pages are up to date, and all that exists is in it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import HERE, PAGES
from sam_dash import cli
from sam_dash.problems.datasets import DATASETS
from sam_dash.runs.measures import MEASURES
from sam_dash.runs.presets import PRESETS
from sam_dash.variants import REGISTRY

ROOT = Path(__file__).parents[1]
OURS = "python -m sam_dash "
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name) -> None:
    assert (HERE / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_a_file_of_results_that_the_docs_name_is_there() -> None:
    named = re.findall(r"`(results/[\w/]+\.py)`", (HERE / "measurements.md").read_text(encoding="utf-8"))
    assert len(named) >= 9
    assert [name for name in named if not (ROOT / "sam_dash" / name).exists()] == []


def test_every_variant_knob_measure_data_set_and_preset_is_documented() -> None:
    text = "".join((HERE / name).read_text(encoding="utf-8") for name in PAGES)
    wanted = [*REGISTRY, *(k for v in REGISTRY.values() for k in v.knobs), *MEASURES, *DATASETS, *PRESETS]
    assert [w for w in wanted if f"`{w}`" not in text] == []


def test_every_quantity_that_is_measured_of_a_model_is_in_the_tutorial() -> None:
    from sam_dash.api import QUANTITIES

    text = (HERE / "measure.md").read_text(encoding="utf-8")
    assert [q for q in QUANTITIES if f"`{q}`" not in text] == []


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    commands = re.findall(r"^make (\w+)", README, flags=re.MULTILINE)
    assert {"run", "test"} <= set(commands) <= set(targets)


@pytest.mark.parametrize(
    "page", [p.relative_to(ROOT) for p in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]]
)
def test_every_link_of_a_page_leads_somewhere(page) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_every_test_that_the_bad_input_table_names_exists() -> None:
    rows = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (HERE / "bad-input.md").read_text(encoding="utf-8"))
    assert len(rows) >= 10
    for file, name in rows:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)


def test_every_statement_of_the_theory_names_code_and_a_test_that_exist() -> None:
    text = (HERE / "theory.md").read_text(encoding="utf-8")
    rows = [row for row in text.splitlines() if row.startswith("| ") and not row.startswith(("| statement", "| ---"))]
    assert len(rows) >= 20
    for row in rows:
        _, code, test = row.removesuffix(" |").split(" | ")
        assert re.fullmatch(r"`sam_dash/[\w/]+\.py::\w+`", code), row
        assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", test), row
    for file, name in re.findall(r"`((?:sam_dash|tests)/[\w/]+\.py)::(\w+)`", text):
        defined = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {name}\b", defined, re.MULTILINE), (file, name)


@pytest.mark.parametrize("page", sorted((ROOT / "pages").glob("*.py")), ids=lambda p: p.stem)
def test_every_page_is_in_the_readme(page) -> None:
    assert re.search(page.stem.replace("_", "[- ]"), README, flags=re.IGNORECASE)


def test_the_tests_of_make_quick_exist() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.search(r"^QUICK := ((?:.*\\\n)*.*)$", text, flags=re.MULTILINE)
    assert named
    for file, _, test in (name.partition("::") for name in named[1].replace("\\", "").split()):
        assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8"), (file, test)


def test_the_readme_links_every_page_of_the_docs_and_shows_every_picture_that_is_kept() -> None:
    kept = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/screenshots").iterdir()]
    assert [p.name for p in kept if f"({p.relative_to(ROOT)})" not in README] == []


@pytest.mark.parametrize(
    ("name", "least"), [("optim.md", 15), ("measure.md", 12), ("record.md", 9), ("checkpoints.md", 4), ("audit.md", 2)]
)
def test_every_block_of_a_tutorial_runs(name, least, tmp_path, monkeypatch) -> None:
    """One after another in one namespace; those that begin with a file's name are that file, for the shell's.

    Of our own commands the first of a page has a process of its own, which mostly imports; the others are called.
    """
    blocks = re.findall(r"```(\w+)\n(.*?)```", (HERE / name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= least
    monkeypatch.setenv("SAM_DASH_STORE", str(tmp_path / "store.db"))
    monkeypatch.chdir(tmp_path)
    space: dict = {}
    started = False
    env = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for language, code in blocks:
        if file := re.match(r"# (\w+\.py)\n", code):
            (tmp_path / file[1]).write_text(code, encoding="utf-8")
        elif language == "python":
            exec(compile(code, name, "exec"), space)
        elif language != "text":  # what a command said
            for line in code.replace("\\\n", "").splitlines():
                if started and line.startswith(OURS):
                    assert cli.main(shlex.split(line.removeprefix(OURS))) == 0
                    continue
                started |= line.startswith(OURS)
                ran = subprocess.run(
                    line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
                )
                assert ran.returncode == 0, ran.stderr
