"""State of a page in its address: parameters are read within bounds, and defaults are not written.

A value that stands for nothing is ignored and reported at the top of the page (`show_refused`).
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.state import QueryParamsProxy

from vestigo.instants import parse_instant
from vestigo_models.errors import ConfigError
from vestigo_models.names import normal_form, unknown_name
from vestigo_ui.app.text import escape_md

Values = tuple[str, ...]
_REFUSED, _UNSEEN = "address-refused", "address-unseen"


@dataclass
class _Unseen:
    """What was written and the browser has not shown to know: by parameter, its earlier values and the written one."""

    page: str
    run: object = None
    written: dict[str, tuple[frozenset[Values], Values]] = field(default_factory=dict)


def _parameters() -> QueryParamsProxy:
    """Return the parameters of the address, with what was written after the browser sent its request.

    The browser may ask for a run before it has received the address that an earlier run wrote: its request has the old
    values, which are written over again. A step in its history and another page end what was written.
    """
    run = get_script_run_ctx()
    if run is None:
        return st.query_params
    unseen: _Unseen | None = st.session_state.get(_UNSEEN)
    if unseen is None or unseen.page != run.page_script_hash:
        unseen = st.session_state[_UNSEEN] = _Unseen(run.page_script_hash)
    if unseen.run is not run.parallel_coordinator:  # Streamlit makes a new one for every run
        unseen.run = run.parallel_coordinator
        if run.is_history_navigation:
            unseen.written.clear()
        for name, (earlier, value) in list(unseen.written.items()):
            current = tuple(st.query_params.get_all(name))
            if current in earlier and current != value:
                _write(name, value)
            else:
                del unseen.written[name]
    return st.query_params


def _write(name: str, value: Values) -> None:
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def text(name: str, default: str = "") -> str:
    """Return a parameter of the address."""
    return str(_parameters().get(name, default))


def refuse(message: str) -> None:
    """Report a value of the address that is ignored."""
    st.session_state.setdefault(_REFUSED, []).append(message)


def show_refused() -> None:
    """Show what `refuse` reported in this run of the page."""
    for message in dict.fromkeys(st.session_state.pop(_REFUSED, [])):
        st.warning(escape_md(f"The address is not followed: {message}"), icon=":material/link_off:")


def check_bound(name: str, options: Iterable[object], kind: str) -> None:
    """Refuse values of a parameter that its bound widget would drop; call this before the widget.

    `options` are what the widget offers, as it shows them, and `kind` is what a value stands for, such as `attribute`.
    """
    known = [str(option) for option in options]
    for value in many(name):
        if value not in known:
            refuse(unknown_name(kind, value, known, "Choose one of"))


def one_of(name: str, allowed: Iterable[str], default: str, *, kind: str = "") -> str:
    """Return a parameter that is one of `allowed`, else the default; another is refused as an unknown `kind`."""
    value, values = text(name, default), {normal_form(each): each for each in allowed}
    if value != default and normal_form(value) not in values:
        refuse(unknown_name(kind or name, value, filter(None, values.values()), "Choose one of"))
    return values.get(normal_form(value), default)


def number(name: str, default: int, least: int = 0, most: int = 10**9) -> int:
    """Return a whole number, clipped to the bounds; the default if the parameter is not a number. Both are refused."""
    written = text(name, str(default))
    try:
        value = int(written)
    except ValueError:
        refuse(f'{name} "{written}" is not a whole number.')
        return default
    if not least <= value <= most:
        refuse(f"{name} {value} is not from {least} to {most}.")
    return min(max(value, least), most)


def fraction(name: str, default: float) -> float:
    """Return a number in [0, 1]; the default if the parameter is not one, which is refused."""
    return float(text(name) or default) if check_number(name, 0, 1) else default


def check_number(name: str, least: float, most: float) -> bool:
    """Return whether a parameter is missing or a number in the bounds; another is refused."""
    try:
        is_valid = not text(name) or least <= float(text(name)) <= most
    except ValueError:
        is_valid = False
    if not is_valid:
        refuse(f'{name} "{text(name)}" is not a number from {least:g} to {most:g}.')
    return is_valid


def many(name: str) -> tuple[str, ...]:
    """Return the different values of a parameter that may occur several times."""
    return tuple(dict.fromkeys(_parameters().get_all(name)))


def moment(name: str) -> datetime | None:
    """Return a time (ISO 8601, UTC unless it names a zone); None if the parameter is not a time, which is refused."""
    written = text(name)
    try:
        return parse_instant(written)
    except ConfigError:
        if written:
            refuse(f'"{written}" is not a time such as 2026-05-01T08:00:00.')
        return None


def put(**values: str | int | float | Iterable[str] | None) -> None:
    """Write parameters; None, "" and an empty sequence remove one."""
    for name, value in values.items():
        items = [value] if isinstance(value, str | int | float) else list(value or ())
        texts = tuple(str(item) for item in items if item != "")
        current = tuple(_parameters().get_all(name))
        _write(name, texts)
        unseen = st.session_state.get(_UNSEEN)
        if unseen is not None and texts != current:
            earlier, _ = unseen.written.get(name, (frozenset(), ()))
            unseen.written[name] = earlier | {current}, texts


def replace(**values: str | int | float | Iterable[str] | None) -> None:
    """Write parameters and remove all others; one that is bound to a widget is removed with its widget."""
    for name in set(_parameters()) - set(values):
        with suppress(StreamlitAPIException):
            put(**{name: None})
    put(**values)


def link(path: str, keep: Iterable[str] = (), **values: str) -> str:
    """Return the address of a page with `values`, and with the current values of the parameters in `keep`."""
    kept = [(name, value) for name in keep for value in many(name)]
    return f"{path}?{urlencode([*values.items(), *kept])}"
