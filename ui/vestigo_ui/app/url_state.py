"""The state of a view as its address has it: read with what is allowed, written without what goes without saying."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

import streamlit as st
from streamlit.errors import StreamlitAPIException


def text(name: str, default: str = "") -> str:
    """Return a parameter of the address."""
    return str(st.query_params.get(name, default))


def one_of(name: str, allowed: Iterable[str], default: str) -> str:
    """Return a parameter that is one of `allowed`, else the default."""
    value = text(name, default)
    return value if value in set(allowed) else default


def number(name: str, default: int, least: int = 0, most: int = 10**9) -> int:
    """Return a whole number, put within bounds; the default where it is none."""
    try:
        return min(max(int(text(name, str(default))), least), most)
    except ValueError:
        return default


def fraction(name: str, default: float) -> float:
    """Return a number between 0 and 1, the default where it is none."""
    try:
        value = float(text(name, str(default)))
    except ValueError:
        return default
    return value if 0 <= value <= 1 else default


def many(name: str) -> tuple[str, ...]:
    """Return all values of a parameter that may stand there several times, without repetitions."""
    return tuple(dict.fromkeys(st.query_params.get_all(name)))


def moment(name: str) -> datetime | None:
    """Return a time (ISO 8601, UTC where it names no zone), None without one."""
    try:
        value = datetime.fromisoformat(text(name))
    except ValueError:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def put(**values: str | int | float | Iterable[str] | None) -> None:
    """Write parameters; None, "" and nothing at all take one away."""
    for name, value in values.items():
        plain = [value] if isinstance(value, str | int | float) else list(value or ())
        kept = [str(one) for one in plain if one != ""]
        if kept:
            st.query_params[name] = kept
        else:
            st.query_params.pop(name, None)


def only(**values: str | int | float | Iterable[str] | None) -> None:
    """Write parameters and take all others away; one that is bound to a widget goes when its widget does."""
    for name in set(st.query_params) - set(values):
        with suppress(StreamlitAPIException):
            del st.query_params[name]
    put(**values)
