"""The report of a study: what it holds, and that names of strangers are text in it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sam_dash import cli
from sam_dash.results.files import report, texts
from sam_dash.results.numbers import study as studies
from sam_dash.results.numbers.study import Study
from sam_dash.runs.store import Store
from tests.synthetic import SWEEP, every, fill

EVIL = "</script><img src=x onerror=alert(1)>"
SMALL = replace(SWEEP, variants=("sgd", "sam"), m=(8, 1), knobs={"rho": (0.1,)})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, str]:
    store = Store(tmp_path_factory.mktemp("report") / "store.db")
    study = studies.from_store(store, fill(store, SMALL))
    assert study is not None
    study = replace(study, spec=replace(study.spec, preset=EVIL))
    text = report.write(study, store, f"python -m sam_dash run {EVIL}")
    store.close()
    return study, text


def test_it_begins_with_the_headline_and_ends_with_how_to_repeat_it(made: tuple[Study, str]) -> None:
    study, text = made
    assert re.search(r'<p class="first">At ρ = 0.1: tr\(H\) falls from .* at m = 8 \(SAM\) to .* at m = 1; ', text)
    assert text.index('class="first"') < text.index("<h2>1. Sharpness over m") < text.index("<h2>Results")
    assert text.index("<h2>Results") < text.index("<h2>To repeat it")
    for cell in texts.results(study).to_numpy().ravel():
        assert f"<td>{cell}</td>" in text


def test_names_of_strangers_are_text_and_nothing_is_loaded(made: tuple[Study, str]) -> None:
    _, text = made
    assert EVIL not in text
    assert text.count("&lt;/script&gt;&lt;img") == 4, "title, heading, command, configuration"
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    scripts = re.findall(r"<script[^>]*>", text)
    assert len(scripts) == text.count("</script>")


def test_only_its_own_marks_are_markdown() -> None:
    told = report._marked(r"**bold** and *thin*, `code`; a * b, [x](y) \[z\] <b>")
    assert told == "<b>bold</b> and <i>thin</i>, <code>code</code>; a * b, [x](y) [z] &lt;b&gt;"


def test_the_command_finds_a_study_by_how_its_id_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "store.db")
    done, failed = (
        fill(store, SMALL),
        fill(store, replace(SMALL, seeds=(7,)), every(replace(SMALL, seeds=(7,)), "failed")),
    )
    store.close()
    where = ["--store", str(tmp_path / "store.db")]
    assert cli.main(["report", done[:6], *where]) == 0
    assert capsys.readouterr().out == f"study-{done}.html\n"
    text = (tmp_path / f"study-{done}.html").read_text(encoding="utf-8")
    assert "python -m sam_dash run --preset digits" in text
    for asked, says in (
        ("zz", "no study 'zz' in this store; there are: "), ("", "no study '' in this store"),
        (failed, "no run of it has finished"),
    ):  # fmt: skip
        assert cli.main(["report", asked, *where]) == 2
        assert says in capsys.readouterr().err
