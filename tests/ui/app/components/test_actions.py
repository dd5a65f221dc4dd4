"""Queue of actions: each is applied once, whatever the browser sends again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from vestigo_models.errors import StoreError
from vestigo_ui.app.components import actions
from vestigo_ui.app.components.actions import UserAction


class Tab:
    """One tab of a browser: its session, and the last outcomes that the server sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, user: str = "anna") -> None:
        self.session: dict[str, Any] = {}
        self.outcomes: dict[str, str] = {}
        self.context: Any = SimpleNamespace(user=SimpleNamespace(name=user))
        self._patch = monkeypatch

    def use(self) -> None:
        self._patch.setattr(actions.st, "session_state", self.session)
        mount = lambda **given: self.outcomes.update(given["data"]["outcomes"])  # noqa: E731
        self._patch.setattr(actions.st.components.v2, "component", lambda name, **parts: mount)

    def send(self, *entries: tuple[str, str, str]) -> None:
        self.use()
        sent = [{"id": name, "scope": scope, "action": "confirm", "crop": crop} for name, scope, crop in entries]
        self.session[actions.KEY] = {"actions": sent}
        self.outcomes.clear()
        actions.apply_actions(self.context)


@pytest.fixture(autouse=True)
def no_outcomes() -> None:
    actions.shared_outcomes.clear()


@pytest.fixture
def tab(monkeypatch: pytest.MonkeyPatch) -> Tab:
    tab = Tab(monkeypatch)
    tab.use()
    return tab


def test_actions_are_applied_once_in_their_order(tab: Tab) -> None:
    applied: list[UserAction] = []
    actions.handle_actions("sheet", applied.append)
    tab.send(("1", "sheet", "a"))
    tab.send(("1", "sheet", "a"), ("2", "sheet", "b"), ("3", "sheet", "a"))
    assert applied == [UserAction("confirm", crop) for crop in "aba"]
    assert tab.outcomes == {"1": "", "2": "", "3": ""}


def test_action_that_fails_is_reported_and_others_are_applied(tab: Tab) -> None:
    applied: list[str] = []

    def handle(action: UserAction) -> None:
        if action.crop == "b":
            raise StoreError("the crop is not in the store")
        applied.append(action.crop)

    actions.handle_actions("sheet", handle)
    tab.send(("1", "sheet", "a"), ("2", "sheet", "b"), ("3", "sheet", "c"))
    assert applied == ["a", "c"]
    assert tab.outcomes == {"1": "", "2": "the crop is not in the store", "3": ""}


def test_interrupted_action_is_applied_by_next_run(tab: Tab) -> None:
    class Interruption(BaseException):
        """What Streamlit raises in a run that another one replaces."""

    applied: list[str] = []

    def interrupted(action: UserAction) -> None:
        raise Interruption

    actions.handle_actions("sheet", interrupted)
    with pytest.raises(Interruption):
        tab.send(("1", "sheet", "a"))
    actions.handle_actions("sheet", lambda action: applied.append(action.crop))
    tab.send(("1", "sheet", "a"))
    assert applied == ["a"]


def interrupted_page() -> None:
    import streamlit as st
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from vestigo_ui.app.components import actions

    def work() -> dict[str, str]:
        st.session_state["begun"] = st.session_state.get("begun", 0) + 1
        st.session_state["ended"] = st.session_state.get("ended", 0) + 1
        return {}

    if "begun" not in st.session_state:
        get_script_run_ctx().script_requests.request_rerun(RerunData())
        actions._without_interruption(work)


def test_handler_is_not_interrupted_where_it_uses_the_session() -> None:
    app = AppTest.from_function(interrupted_page).run()
    assert (app.session_state["begun"], app.session_state["ended"]) == (1, 1)


def test_dialog_applies_its_actions_and_leaves_those_that_wait(tab: Tab) -> None:
    applied: list[str] = []
    tab.send(("1", "sheet", "a"))
    actions.handle_actions("bar", lambda action: applied.append(action.crop))
    sent = {"id": "2", "scope": "bar", "action": "next", "crop": "b"}
    tab.session[actions.DIALOG_KEY] = {"actions": [sent, sent | {"id": "3", "scope": "other"}]}
    assert actions.apply_dialog_actions(tab.context) == {"2": ""}
    assert applied == ["b"]
    assert tab.session[actions.WAITING] == {"1": "sheet"}
    tab.send()
    assert tab.outcomes["2"] == ""
    assert applied == ["b"]


def test_action_waits_for_its_page_after_reload(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str] = []
    actions.handle_actions("sheet", lambda action: applied.append(action.crop))
    tab.send(("1", "sheet", "a"))
    reloaded = Tab(monkeypatch)
    reloaded.send(("1", "sheet", "a"), ("2", "sheet", "b"))
    assert reloaded.outcomes == {"1": ""}
    reruns: list[bool] = []
    monkeypatch.setattr(actions.st, "rerun", lambda: reruns.append(True))
    actions.rerun_for_waiting()
    assert not reruns
    actions.handle_actions("sheet", lambda action: applied.append(action.crop))
    actions.rerun_for_waiting()
    assert reruns
    reloaded.send(("1", "sheet", "a"), ("2", "sheet", "b"))
    assert applied == ["a", "b"]


def test_action_of_closed_page_is_reported(tab: Tab) -> None:
    # A slow first run of a page may be stopped by the same action, which is sent again.
    for _ in range(3):
        tab.send(("1", "sheet", "a"))
        assert tab.outcomes == {}
    actions.rerun_for_waiting()
    tab.send(("1", "sheet", "a"))
    assert "its page is closed" in tab.outcomes["1"]


def test_ids_of_other_users_are_not_shared(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str] = []
    for user in ("anna", "bert"):
        other = Tab(monkeypatch, user)
        other.use()
        actions.handle_actions("sheet", lambda action, user=user: applied.append(user))
        other.send(("1", "sheet", "a"))
    assert applied == ["anna", "bert"]
