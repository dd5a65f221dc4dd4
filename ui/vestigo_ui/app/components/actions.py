"""Queue of user actions: the browser keeps and resends an action until the server has acknowledged it."""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from vestigo_models.errors import VestigoError
from vestigo_ui.app.cache import LruCache
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import STORE_ERRORS, report_errors

KEY, DIALOG_KEY = "actions", "result-bar"
"""Session keys of the components that send actions: the queue, and the bar of the dialog of a result."""
HANDLERS, WAITING, CLOSED = "actions-handlers", "actions-waiting", "actions-closed"
"""Session keys: the handlers by scope, the scopes of actions that wait for theirs by id, and those of a closed page."""
FIELDS = ("id", "scope", "action", "crop", "note")
"""Fields of an action of the browser."""
BUTTON = "queued-"
"""Start of the keys of buttons whose clicks go to the queue."""
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


def action_button(label: str, handler: Callable[[], None], *, key: str, **options: Any) -> None:
    """Show a button whose clicks go to the queue; further clicks are ignored until the server has answered.

    Args:
        label: Text of the button.
        handler: What a click does, as in `handle_actions`; an error of the store is shown as "Not saved".
        key: What the button does and to which item, in letters, digits and hyphens: a click on a button of an earlier
            run of the page reaches the handler with the same key.
        options: Other arguments of `st.button`.
    """
    handle_actions(f"{BUTTON}{key}", lambda _: handler())
    # A shortcut does not go to the queue; its callback runs before the page, as actions do.
    st.button(label, key=f"{BUTTON}{key}", on_click=report_errors()(handler), **options)


def apply_actions(context: PageContext) -> None:
    """Apply the actions that the browser sent, each once, and send it their outcomes."""
    entries = [*_sent(KEY), *_sent(DIALOG_KEY)]
    waiting: dict[str, str] = {}
    outcomes = _without_interruption(lambda: dict(_apply_all(context, entries, waiting)))
    st.session_state[WAITING] = waiting
    mount = st.components.v2.component("vestigo.actions", **_COMPONENT)
    mount(key=KEY, data={"user": context.user.name, "outcomes": outcomes}, on_actions_change=lambda: None)


def apply_dialog_actions(context: PageContext) -> dict[str, str]:
    """Apply the actions that the dialog sent, without the page behind it; return their outcomes by id."""
    handlers = st.session_state.get(HANDLERS, {})
    entries = [entry for entry in _sent(DIALOG_KEY) if str(entry.get("scope")) in handlers]
    return _without_interruption(lambda: dict(_apply_all(context, entries, {})))


def _sent(key: str) -> Iterable[Mapping[str, Any]]:
    """Return the actions that a component sent."""
    state = st.session_state.get(key)
    return (state and state.get("actions")) or ()


def rerun_for_waiting() -> None:
    """Run the page again if it has set the handler of an action that waits for it; call this after the whole page."""
    handlers, waiting = st.session_state.get(HANDLERS, {}), st.session_state.get(WAITING, {})
    if any(scope in handlers for scope in waiting.values()):
        st.rerun()
    st.session_state[CLOSED] = waiting


def _apply_all(
    context: PageContext, entries: Iterable[Mapping[str, Any]], waiting: dict[str, str]
) -> Iterable[tuple[str, str]]:
    """Apply actions in their order; yield the id and outcome of each that is settled: "", or why it failed.

    The scopes of others, whose page is not shown yet, are written to `waiting` by id.
    """
    handlers: Mapping[str, Handler] = st.session_state.get(HANDLERS, {})
    closed: Mapping[str, str] = st.session_state.get(CLOSED, {})
    for entry in entries:
        name, scope, action, crop, note = (str(entry.get(field, "")) for field in FIELDS)
        place = context.user.name, name
        if scope in handlers:
            apply = partial(_apply, handlers[scope], UserAction(action, crop, note))
            yield name, shared_outcomes().get_or_compute(place, apply)
        elif (outcome := shared_outcomes().get(place)) is not None:
            yield name, outcome
        elif name in closed:
            yield name, "its page is closed. Open the page again and repeat it"
        else:
            waiting[name] = scope


def _apply(handler: Handler, action: UserAction) -> str:
    try:
        handler(action)
    except STORE_ERRORS as error:
        return str(error) if isinstance(error, VestigoError) else "the store does not answer"
    return ""


def _without_interruption(work: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Do work of the page in a thread: Streamlit may stop its own thread wherever that touches the session."""
    run = get_script_run_ctx(suppress_warning=True)

    def work_with_session() -> dict[str, str]:
        if run is not None:
            add_script_run_ctx(threading.current_thread(), run)
        return work()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work_with_session).result()


@st.cache_resource(show_spinner=False)
def shared_outcomes() -> LruCache[str]:
    """Return the outcomes of actions by user and id, also of sessions before a reload."""
    return LruCache(MAX_OUTCOMES)
