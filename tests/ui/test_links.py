"""Every control is in the URL: each is bound to a parameter, and a cold link with that parameter restores it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.audit import Report, kept
from sam_dash.decide import record
from sam_dash.results.experiments import EXPERIMENTS
from sam_dash.results.numbers import study as studies
from sam_dash.runs.spec import Measures
from sam_dash.runs.store import Store
from sam_dash.ui import pick, router, saddle_parts
from tests.decide import records
from tests.synthetic import SWEEP, fill
from tests.ui.test_saddles import Here

Visit = Callable[..., AppTest]
ROOT = Path(__file__).parents[2]
WIDGETS = {
    "selectbox", "multiselect", "pills", "segmented_control", "radio", "slider", "select_slider", "toggle", "checkbox",
    "number_input", "text_input", "text_area", "file_uploader", "tabs", "date_input", "color_picker",
}  # fmt: skip
NOT_IN_THE_URL = {
    "box": "the study is in the URL by hand, as ?study=ID: a bound one would be a label, which changes",
    "beside": "these studies are in the URL by hand as well, as ?with=ID,ID",
    "npz_file": "a file",
    "zip_file": "a file",
    "csv_file": "a file",
    "audit_file": "a file",
    **dict.fromkeys(
        ("csv_target", "csv_{target}", "csv_more", "csv_study", "csv_all_variant", "csv_all_m"),
        "of a file that no link carries",
    ),
    "sure": "a link must not confirm a deletion",
    "long": "a link must not start what takes above a day",
    "note_{key}": "the note is in the store",
    "{field}_{kind}_{key}": "names and tags are in the store",
    "{what}_tags": "tags are in the store",
    "stop_which": "names the run of the button beside it, which acts at once",
}
EXAMPLE = studies.EXAMPLE
FULL = replace(
    SWEEP, variants=("sgd", "sam", "usam", "rwsam"), knobs={"rho": (0.1, 0.2), "lam": (0.0, 0.5, 1.0)},
    measures=Measures(what=("trace", "lam_max", "noise", "m_sharpness", "pyhessian")),
)  # fmt: skip
PAGES = [
    *router.PAGES,
    "saddles:saddle_of=In a network",
    "rw_sam:rw_part=Its weights",
    "rw_sam:rw_part=Its modes",
    "theory:theory_part=On a study's runs",
]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call that makes a widget; `number` and the like are names for one."""
    for path in (*(ROOT / "sam_dash" / "ui").glob("*.py"), *(ROOT / "pages").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WIDGETS
            if called:
                yield f"{path.name}:{node.lineno}", node


def test_every_widget_is_bound_to_the_url_or_has_a_reason_not_to_be() -> None:
    unbound = set()
    for where, call in calls():
        words = {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg}
        spread = [ast.unparse(k.value) for k in call.keywords if k.arg is None]
        if words.get("bind") != "'query-params'" and "BOUND" not in spread:
            key = words.get("key", "").removeprefix("f").strip("'")
            assert key in NOT_IN_THE_URL, where
            unbound.add(key)
    assert unbound == set(NOT_IN_THE_URL)


def test_a_word_and_enter_choose_one_option_and_not_all_that_match() -> None:
    lists = [(where, {k.arg: ast.unparse(k.value) for k in call.keywords}) for where, call in calls()
             if call.func.attr == "multiselect"]  # type: ignore[attr-defined]  # fmt: skip
    assert len(lists) >= 5
    assert [where for where, words in lists if words.get("select_all") != "False"] == []


def controls(at: AppTest) -> dict[str, Any]:
    """What is bound, by parameter; nothing else is there but what has a reason."""
    found = {}
    todo = [at.main]
    while todo:
        node = todo.pop()
        proto = getattr(node, "proto", None)
        proto = getattr(proto, "tab_container", proto) if node.type == "tab_container" else proto
        if name := getattr(proto, "query_param_key", ""):
            found[name] = node
        elif hasattr(proto, "query_param_key") and node.type not in ("expander", "flex_container"):
            labels = ("name_study_", "tags_study_", "name_run_", "tags_run_")  # {field}_{kind}_{key}
            assert node.key.startswith((pick.BOX, *labels)) or node.key in NOT_IN_THE_URL, (node.type, node.key)
        todo += getattr(node, "children", {}).values()
    return found


def shown(node: Any) -> Any:
    """The value, as text; of tabs the one that is open."""
    if node.type == "tab_container":
        return node.children[node.proto.tab_container.default_tab_index].label
    value = node.value
    return [str(v) for v in value] if isinstance(value, list | tuple) else str(value)


def other(name: str, node: Any) -> Any:
    """Another value that the control can have, as the URL says it."""
    now = shown(node)
    if node.type == "tab_container":
        return node.children[len(node.children) - 1].label
    options = [str(o) for o in getattr(node, "options", [])]
    if options:
        away = [o for o in options if o not in now] if isinstance(now, list) else [o for o in options if o != now]
        return (away or options)[-1:] if isinstance(now, list) else away[-1]
    if node.type in ("toggle", "checkbox"):
        return str(not node.value).lower()
    if node.type in ("number_input", "slider"):
        kind = type(node.value)
        step, most = node.step or 1, node.max
        if isinstance(node.value, tuple):
            return [str(round(node.value[0] + step, 1)), str(node.value[1])]
        new = node.value + step if node.value + step <= most else node.value - step
        return str(kind(new))
    return f"{now}, 7"


def same(a: Any, b: Any) -> bool:
    """As numbers where they are."""
    try:
        return float(a) == pytest.approx(float(b))
    except (TypeError, ValueError):
        return str(a).lower() == str(b).lower() if isinstance(a, str) else a == b


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", PAGES)
def test_a_cold_link_restores_every_control_of_a_page(
    richer: None, store: Store, visit: Visit, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saddle_parts, "Calculator", Here)
    monkeypatch.setattr(studies, "EXAMPLE", EXAMPLE)
    assert EXPERIMENTS
    study = fill(store, FULL)
    for name in ("a", "b"):
        records.written(record.folder() / f"{name}.jsonl")
        kept.keep(Report(8, (), None, 0.0, 1, 1, ()), f"{name}.py:loop")
    fixed = {"study": study}
    page, _, part = page.partition(":")
    fixed |= dict([part.split("=")]) if part else {}
    at = visit(page, **fixed)
    asked = {name: other(name, node) for name, node in controls(at).items() if name not in fixed}
    asked.pop("land", None)  # another landscape has knobs of its own
    # another part of the page has other controls; not every problem and variant has every figure
    for part in ("saddle_of", "rw_part", "theory_problem", "theory_variant", "theory_part"):
        asked.pop(part, None)
    gone, wrong = set(), {}
    for apart in {"settings", "at_rho", "theory_setting"} & set(asked) or {
        ""
    }:  # a setting is named with its ρ: at another it is not there
        wanted = {name: value for name, value in asked.items() if name != apart}
        later = controls(visit(page, **fixed, **wanted))
        gone |= {name for name in wanted if name not in later}
        wrong |= {n: (v, shown(later[n])) for n, v in wanted.items() if n in later and not same(shown(later[n]), v)}
    assert wrong == {}
    assert gone <= {"m", "escape_tab", "escape_width"}, "the Run page's m are divisors of B; an escape is run first"
    # no checkpoint is kept in this study; test_checkpoints.py has links to looks at some
    assert asked or page in ("estimators", "claims", "checkpoints"), "a page with nothing to choose"
