"""Verdicts about a result: shown and recorded next to the distances, which they never change."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from vestigo.store.audit.records import Verdict
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.text import format_utc
from vestigo_ui.web.auth.users import Role

VerdictValue = Literal["confirmed", "rejected", "not sure"]

NOTE_LENGTH = 2000
BUTTONS: tuple[tuple[str, VerdictValue | None, str, str], ...] = (
    ("Confirm", "confirmed", ":material/check:", "Y"),
    ("Reject", "rejected", ":material/close:", "X"),
    ("Not sure", "not sure", ":material/question_mark:", "N"),
    ("Withdraw", None, ":material/undo:", "W"),
)


def show_verdict(context: PageContext, key: str, crop: str) -> None:
    """Show the verdict about a crop as a result of the query `key`, with buttons for reviewers."""
    verdict = context.store.verdicts.current(key, context.case).get(crop)
    if context.may(Role.REVIEWER):
        note = st.text_input(
            "Note", key=f"result-note-{crop}", max_chars=NOTE_LENGTH, placeholder="Note", label_visibility="collapsed"
        )
        with st.container(horizontal=True, gap="small"):
            for label, value, icon, shortcut in BUTTONS:
                is_current = verdict is not None and verdict.verdict == value
                if st.button(
                    label,
                    key=f"result-{label}",
                    icon=icon,
                    shortcut=shortcut,
                    type="primary" if is_current else "secondary",
                    disabled=value is None and verdict is None,
                ):
                    verdict = record_verdict(context, key, crop, value, note)
    if verdict is None or verdict.verdict is None:
        st.caption("This result has no verdict yet.")
    else:
        # Notes are shown as text, not as Markdown.
        st.text(format_verdict(verdict))


def format_verdict(verdict: Verdict) -> str:
    """Return a verdict with its author, time and note."""
    line = f"{(verdict.verdict or 'withdrawn').capitalize()} by {verdict.user}, {format_utc(verdict.at)} UTC"
    return f"{line}: {verdict.note}" if verdict.note else line


def record_verdict(context: PageContext, key: str, crop: str, value: VerdictValue | None, note: str = "") -> Verdict:
    """Record a verdict of the user about a result.

    Args:
        context: Context of the page.
        key: Key of the query.
        crop: The result.
        value: The verdict, None to withdraw the last one.
        note: Free text.

    Raises:
        UsageError: The user is not a reviewer.
    """
    context.require(Role.REVIEWER, "A verdict")
    return context.store.verdicts.record(
        key, crop, value, user=context.user.name, case=context.case, note=note, authority=context.authority
    )
