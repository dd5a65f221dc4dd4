"""Queue of user actions: the browser keeps and resends an action until the server has acknowledged it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from vestigo_models.errors import VestigoError
from vestigo_ui.app.cache import LruCache
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import STORE_ERRORS

KEY, HANDLERS, WAITING = "actions", "actions-handlers", "actions-waiting"
"""Session keys: the component, the handlers by scope, and the ids of actions whose scope is not shown yet."""
FIELDS = ("id", "scope", "action", "crop", "note")
"""Fields of an action of the browser."""
MAX_HANDLERS = 256
MAX_OUTCOMES = 20_000
_COMPONENT: dict[str, Any] = {
    "html": '<div class="actions" role="status" aria-live="polite"></div>',
    "css": Path(__file__).with_suffix(".css").read_text("utf-8"),
    "js": Path(__file__).with_suffix(".js").read_text("utf-8"),
}


@dataclass(frozen=True)
class UserAction:
    """An action of the user: its name, the crop or other item that it is about, and a note."""

    action: str
    crop: str
    note: str = ""


Handler = Callable[[UserAction], object]


def handle_actions(scope: str, handler: Handler) -> None:
    """Set the handler of the actions with a scope for the rest of the session.

    It is called before the page of a later run, and must name in the address or the store whatever it changes.
    """
    handlers: dict[str, Handler] = st.session_state.setdefault(HANDLERS, {})
    handlers.pop(scope, None)
    handlers[scope] = handler
    while len(handlers) > MAX_HANDLERS:
        del handlers[next(iter(handlers))]


def apply_actions(context: PageContext) -> None:
    """Apply the actions that the browser sent, each once, and send it their outcomes."""
    state = st.session_state.get(KEY)
    outcomes = dict(_apply_all(context, state and state.get("actions")))
    mount = st.components.v2.component("vestigo.actions", **_COMPONENT)
    mount(key=KEY, data={"user": context.user.name, "outcomes": outcomes}, on_actions_change=lambda: None)


def rerun_for_waiting() -> None:
    """Run the page again if it has set the handler of an action that waits for it."""
    handlers = st.session_state.get(HANDLERS, {})
    if any(scope in handlers for scope in st.session_state.get(WAITING, {}).values()):
        st.rerun()


def _apply_all(context: PageContext, entries: Iterable[Mapping[str, Any]] | None) -> Iterable[tuple[str, str]]:
    """Apply actions in their order; yield the id and outcome of each that is settled: "", or why it failed."""
    handlers: Mapping[str, Handler] = st.session_state.get(HANDLERS, {})
    before: Mapping[str, str] = st.session_state.get(WAITING, {})
    waiting: dict[str, str] = {}
    for entry in entries or ():
        name, scope, action, crop, note = (str(entry.get(field, "")) for field in FIELDS)
        place = context.user.name, name
        if scope in handlers:
            apply = partial(_apply, handlers[scope], UserAction(action, crop, note))
            yield name, shared_outcomes().get_or_compute(place, apply)
        elif (outcome := shared_outcomes().get(place)) is not None:
            yield name, outcome
        elif name in before:
            yield name, "its page is closed. Open the page again and repeat it"
        else:
            waiting[name] = scope
    st.session_state[WAITING] = waiting


def _apply(handler: Handler, action: UserAction) -> str:
    try:
        handler(action)
    except STORE_ERRORS as error:
        return str(error) if isinstance(error, VestigoError) else "the store does not answer"
    return ""


@st.cache_resource(show_spinner=False)
def shared_outcomes() -> LruCache[str]:
    """Return the outcomes of actions by user and id, also of sessions before a reload."""
    return LruCache(MAX_OUTCOMES)
