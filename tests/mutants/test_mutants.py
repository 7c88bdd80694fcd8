"""The check of the tests is itself true: what it changes, which tests it asks, and whom it believes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import __main__ as check
from tests.mutants import equivalent
from tests.mutants.covered import Kept
from tests.mutants.mapping import Mapping
from tests.mutants.operators import Mutant, mutants
from tests.mutants.trial import Outcome

MODULE = """def top(values):
    return max(values)

def above(value):
    return value > 3
"""
ENDLESS = """def count(n):
    while n > 0:
        n -= 1
    return n
"""
TESTS = """from sam_dash.maths import thing

def test_the_top_is_the_largest():
    assert thing.top([1, 2]) == 2

def test_five_is_above():
    assert thing.above(5)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project: one module, and tests that are blind to what happens at the edge."""
    for name, text in {"sam_dash/maths/thing.py": MODULE, "tests/maths/test_thing.py": TESTS}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n')
    return tmp_path


def lines(text: str) -> set[str]:
    return {m.changed(text.splitlines()[m.line - 1]).strip() for m in mutants("f.py", text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = a < b", {"x = a <= b"}),
        ("x = a not in b", {"x = a in b"}),
        ("x = a - b", {"x = a + b"}),
        ("x = (a) ** b", {"x = (a) * b"}),
        ("x = a and b", {"x = a or b"}),
        ("x = -a", {"x = a"}),
        ("x = True", {"x = False"}),
        ("x = [7, 0.5]", {"x = [8, 0.5]", "x = [7, 1.0]"}),
        ("x = 0.0", {"x = 1.0"}),
        ("x -= a", {"x += a"}),
        ("x = max(a)", {"x = min(a)"}),
        ("x = a.mean()", {"x = a.sum()"}),
        ("x = a.abs()", {"x = (a)"}),
        ("x = abs(a)", {"x = (a)"}),
        ("x = math.sqrt(a)", {"x = (a)"}),
        ("x = (λ).clamp(a)", {"x = (λ)"}),
        ("x = a if b else c", {"x = a if not (b) else c"}),
        ('x = a + "text"', set()),
        ("x = zip(a, b, strict=True)", set()),
        ("def f(a: x[1]) -> x[2]: pass", set()),
        ("if TYPE_CHECKING:\n    x = 1", set()),
    ],
)
def test_a_slip_is_made_where_it_can_be_made(text: str, expected: set[str]) -> None:
    assert lines(text) == expected


def test_a_mutant_of_this_project_is_python_and_another_text() -> None:
    """A thousand of them."""
    found = check.sample(check.ROOT, None, 1000, 0)
    assert len(found) == 1000
    for file in {m.file for m in found}:
        text = check.text_of(check.ROOT, file)
        changed = [m.applied(text) for m in found if m.file == file]
        assert len(set(changed) | {text}) == len(changed) + 1, file
        for new in changed:
            compile(new, file, "exec")


def test_a_planted_survivor_is_found_and_shown_and_fails_the_check(tree: Path, capfd: pytest.CaptureFixture) -> None:
    assert check.main(["--files", "sam_dash/maths/thing.py", "--sample", "99", "--workers", "1"], tree) == 1
    out = capfd.readouterr().out
    assert "killed   sam_dash/maths/thing.py:2: return min(values)  tests/maths/test_thing.py::test_the_top" in out
    assert "SURVIVED sam_dash/maths/thing.py:5: return value >= 3" in out
    assert "-    return value > 3\n+    return value >= 3" in out
    assert "\n1 of 3 mutants killed (33.3%)" in out


def test_a_test_that_fails_without_the_mutant_is_not_believed(tree: Path, capfd: pytest.CaptureFixture) -> None:
    tests = tree / "tests/maths/test_thing.py"
    tests.write_text(TESTS + "\ndef test_broken():\n    assert thing.above(2)\n")
    check.main(["--files", "sam_dash/maths", "--sample", "99", "--workers", "1"], tree)
    out = capfd.readouterr().out
    assert "left out, as they fail without a mutant: tests/maths/test_thing.py::test_broken\n" in out
    assert "\n1 of 3 mutants killed (33.3%)" in out
    trials = check.Trials(tree, 1)
    once = {"tests/maths/test_thing.py::test_broken": (0.1, {"sam_dash/maths/thing.py": [5]})}
    trials.kept.put("tests/maths/test_thing.py", {"tests": once, "failed": []})
    edge = next(m for m in mutants("sam_dash/maths/thing.py", MODULE) if m.new == ">=")
    assert trials.trial(tree, edge) == ""
    assert "not believed, as it fails without a mutant too" in capfd.readouterr().out


def test_a_default_is_looked_up_in_the_docs_first_and_what_a_call_computes_is_not(tree: Path) -> None:
    module, docs = tree / "sam_dash/maths/thing.py", tree / check.DOCS
    module.write_text("def scaled(x, by=3):\n    return 2 * x\n")
    docs.write_text("import inspect\nfrom sam_dash.maths import thing\n\ndef test_page():\n"
                    "    assert inspect.signature(thing.scaled).parameters['by'].default == 3\n")  # fmt: skip
    found = {m.new: m for m in mutants("sam_dash/maths/thing.py", module.read_text())}
    trials = check.Trials(tree, 1)
    assert trials.trial(tree, found["4"]) == f"{check.DOCS}::test_page"
    assert [check.DOCS in str(stage) for stage in trials.stages(tree, found["/"])] == [False]


def test_a_mutant_that_never_ends_is_killed_as_these_tests_do(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "PATIENCE", 10.0)
    (tree / "sam_dash/maths/thing.py").write_text(ENDLESS)
    test = "from sam_dash.maths import thing\n\ndef test_two():\n    assert thing.count(2) == 0\n"
    (tree / "tests/maths/test_thing.py").write_text(test)
    endless = next(m for m in mutants("sam_dash/maths/thing.py", ENDLESS) if m.new == "+=")
    assert check.Trials(tree, 1).trial(tree, endless).startswith("not ended after 1")
    assert (tree / "sam_dash/maths/thing.py").read_text() == ENDLESS


SHARED = """import functools

FACTOR = 2

@functools.cache
def cached(x):
    return FACTOR * x

def fixed(x):
    return x

def unused(x):
    return x + 1
"""
SHARED_TESTS = """import pytest
from sam_dash.maths import thing

@pytest.fixture(scope="module")
def made():
    return thing.fixed(3)

def test_cached():
    assert thing.cached(1) == 2

def test_cached_again():
    assert thing.cached(1) == 2

def test_made(made):
    assert made == 3

def test_made_again(made):
    assert made == 3

def test_nothing():
    pass
"""


def test_a_test_runs_what_is_cached_and_what_its_fixtures_ran_and_is_forgotten_when_that_changes(tree: Path) -> None:
    module, tests = tree / "sam_dash/maths/thing.py", tree / "tests/maths/test_thing.py"
    module.write_text(SHARED)
    tests.write_text(SHARED_TESTS)
    trials = check.Trials(tree, 1)

    def running(line: int) -> list[set[str]]:
        mutant = Mutant("sam_dash/maths/thing.py", line, 0, 1, "")
        return [{test.rpartition("::")[2] for test in stage} for stage in trials.stages(tree, mutant)]

    assert running(7) == [{"test_cached", "test_cached_again"}]
    assert running(10) == [{"test_made", "test_made_again"}]
    every = {"test_cached", "test_cached_again", "test_made", "test_made_again", "test_nothing"}
    assert running(3) == [every], "run at import: by all tests of the file that imports it"
    assert running(13) == [every], "by no test in this process: as at import"
    kept = Kept(tree)
    assert kept.get("tests/maths/test_thing.py") is not None
    module.write_text(SHARED.replace("2", "3"))
    assert Kept(tree).get("tests/maths/test_thing.py") is None
    module.write_text(SHARED)
    tests.write_text(SHARED_TESTS.replace("3", "4"))
    assert Kept(tree).get("tests/maths/test_thing.py") is None


def test_quick_tests_are_tried_first_and_as_many_as_the_budget_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seconds = {"b::slow": 3.0, "a::quick": 0.2, "b::quick": 0.1, "b::slower": 9.0, "a::long": 20.0}
    order = check.in_order(seconds)
    assert list(order) == ["b::quick", "a::quick", "b::slow", "b::slower", "a::long"]
    tried: list[list[str]] = []
    monkeypatch.setattr(check, "attempt", lambda tree, tests, limit: tried.append(tests) or Outcome("", True))
    monkeypatch.setattr(check.Trials, "stages", lambda self, tree, mutant: iter([order, {"c::next": 1.0}]))
    (tmp_path / "f.py").write_text("x = 1\n")
    (mutant,) = mutants("f.py", "x = 1\n")
    for budget, expected in (
        (99.0, [[*order], ["c::next"]]),
        (3.4, [[*order][:3], ["c::next"]]),
        (0.05, [[*order][:1]]),
    ):
        monkeypatch.setattr(check, "BUDGET", budget)
        assert check.Trials(tmp_path, 1).trial(tmp_path, mutant) == ""
        assert tried == expected
        tried.clear()


@pytest.mark.parametrize(
    ("line", "expected"), [(1, {1}), (2, {2, 3}), (3, {2, 3}), (4, {4}), (5, {5, 6}), (6, {5, 6}), (7, {7}), (9, {9})]
)
def test_a_line_is_run_where_its_statement_is(line: int, expected: set[int]) -> None:
    text = "def f(x):\n    y = g(\n        x)\n    if x:\n        return (y +\n            1)\n    return y\n\nz = 1\n"
    assert check.statement(text, line) == expected
    assert check.at_import(text, line) == (line in (1, 9))


def test_the_tests_of_a_module_come_nearest_first() -> None:
    levels = Mapping(check.ROOT).nearest("sam_dash/maths/noise.py")
    assert levels[0] == ["tests/maths/test_noise.py"]
    files = [file for level in levels for file in level]
    assert "tests/runs/test_train.py" in files[1:]
    assert len(set(files)) == len(files)


def test_what_is_known_to_change_nothing_is_still_a_mutant_and_has_a_reason() -> None:
    for file, line, changed in equivalent.KNOWN:
        text = check.text_of(check.ROOT, file)
        found = {(text.splitlines()[m.line - 1].strip(), m.changed(text.splitlines()[m.line - 1]).strip())
                 for m in mutants(file, text)}  # fmt: skip
        assert (line, changed) in found, f"no longer a mutant: {file}: {line}"
        assert len(equivalent.KNOWN[file, line, changed]) > 20
