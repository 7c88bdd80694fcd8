"""Who is looking is asked where that is set up, and nobody is where it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from sam_dash.ui import people
from tests.synthetic import SWEEP, fill

TINY = {"preset": "digits", "variants": "sgd", "seeds": "1", "network": "mlp:4"}


class User(dict):
    """What Streamlit knows of somebody."""

    @property
    def is_logged_in(self) -> bool:
        return bool(self)

    def to_dict(self) -> dict:
        return dict(self)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def known(**names: object) -> None:
        monkeypatch.setattr(people.st, "user", User(names))

    known()
    return known


@pytest.mark.parametrize(
    ("names", "who"),
    [
        ({}, None), ({"email": "ada@example.org", "name": "Ada"}, "ada@example.org"), ({"name": "Ada"}, "Ada"),
        ({"email": None, "sub": "42"}, "42"), ({"email": "  "}, None),
        ({"name": "a\nb" + "c" * 300}, "a b" + 197 * "c"),
    ],
)  # fmt: skip
def test_a_person_has_one_name(user, names, who) -> None:
    user(**names)
    assert people.who() == who


def test_without_a_log_in_there_is_no_gate_and_a_study_is_nobodys(store, visit: Callable[..., AppTest], user) -> None:
    at = visit("run", **TINY)
    at.button(key="go").click().run()
    assert [s["person"] for s in store.sweeps()] == [None]


def test_what_is_started_is_of_whoever_has_logged_in_and_says_so(store, visit, user, monkeypatch) -> None:
    monkeypatch.setattr(people, "_logs_in", lambda: True)
    at = visit("run", **TINY)
    assert [b.key for b in at.button] == ["log_in"], "nothing else is shown"
    user(email="ada@example.org")
    at = visit("run", **TINY)
    assert "log_out" in [b.key for b in at.button]
    assert "ada@example.org" in [c.value for c in at.caption]
    at.button(key="go").click().run()
    assert [s["person"] for s in store.sweeps()] == ["ada@example.org"]
    assert any("ada@example.org" in option for box in at.selectbox for option in box.options)


def test_past_its_proxy_a_server_shows_nothing(store, visit, user, monkeypatch) -> None:
    real = people.st.get_option
    headers = {"server.trustedUserHeaders": {"X-Forwarded-User": "email"}}
    monkeypatch.setattr(people.st, "get_option", lambda name: headers.get(name) or real(name))
    at = visit("run", **TINY)
    assert "through its proxy" in at.error[0].value
    assert not at.button
    user(email="bob")
    assert visit("run", **TINY).button(key="go")


def test_above_the_limit_of_hours_start_is_disabled_and_says_why(store, visit, user, monkeypatch) -> None:
    user(email="ada")
    monkeypatch.setenv("SAM_DASH_HOURS", "1e-6")
    at = visit("run", **TINY)
    assert "with these runs ada would have" in at.error[0].value
    assert at.button(key="go_off").disabled
    assert store.sweeps() == []


@pytest.mark.parametrize(("page", "button"), [("run", "resume"), ("runs", "again")])
def test_what_is_tried_again_is_of_whoever_asks_and_within_their_hours(
    store, visit, user, monkeypatch, page, button
) -> None:
    key = SWEEP.runs()[0].key
    study = fill(store, SWEEP, {key: "failed"})
    user(email="ada")
    monkeypatch.setenv("SAM_DASH_HOURS", "1e-6")
    at = visit(page, study=study, run=key)
    at.button(key=button).click().run()
    assert any("with these runs ada would have" in said.value for said in [*at.error, *at.toast])
    assert store.statuses([key]) == {key: "failed"}
    monkeypatch.delenv("SAM_DASH_HOURS")
    at.button(key=button).click().run()
    assert store.statuses([key]) == {key: "queued"}
    assert store.run(key)["person"] == "ada"
