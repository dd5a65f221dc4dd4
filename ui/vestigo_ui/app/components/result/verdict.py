"""What people decided about a result, and deciding it: kept beside the distances, never among them."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from vestigo.store.audit.records import Verdict
from vestigo_models.errors import UsageError
from vestigo_ui.app.context import Desk
from vestigo_ui.app.text import utc
from vestigo_ui.web.auth.users import Role

Decision = Literal["confirmed", "rejected", "not sure"]

NOTE_LENGTH = 2000
CHOICES: tuple[tuple[str, Decision | None, str, str], ...] = (
    ("Confirm", "confirmed", ":material/check:", "Y"),
    ("Reject", "rejected", ":material/close:", "X"),
    ("Not sure", "not sure", ":material/question_mark:", "N"),
    ("Withdraw", None, ":material/undo:", "W"),
)


def show_decision(desk: Desk, key: str, crop: str) -> None:
    """Say what was decided about a crop as an answer to the query `key`, and let reviewers decide."""
    held = desk.store.verdicts.current(key, desk.case).get(crop)
    if desk.may(Role.REVIEWER):
        note = st.text_input(
            "Note", key=f"result-note-{crop}", max_chars=NOTE_LENGTH, placeholder="Note", label_visibility="collapsed"
        )
        with st.container(horizontal=True, gap="small"):
            for label, value, icon, shortcut in CHOICES:
                current = held is not None and held.verdict == value
                pressed = st.button(
                    label,
                    key=f"result-{label}",
                    icon=icon,
                    shortcut=shortcut,
                    type="primary" if current else "secondary",
                    disabled=value is None and held is None,
                )
                if pressed:
                    held = decide(desk, key, crop, value, note)
    if held is None or held.verdict is None:
        st.caption("Nobody has decided about this result.")
    else:
        # As text: what people write is no markdown.
        st.text(in_words(held))


def in_words(verdict: Verdict) -> str:
    """Say who decided what and when."""
    said = f"{(verdict.verdict or 'withdrawn').capitalize()} by {verdict.user}, {utc(verdict.at)} UTC"
    return f"{said}: {verdict.note}" if verdict.note else said


def decide(desk: Desk, key: str, crop: str, value: Decision | None, note: str) -> Verdict:
    """Write a decision down. Raises UsageError for somebody who may not, StoreError as `VerdictRepository.record`."""
    if not desk.may(Role.REVIEWER):
        raise UsageError(f"{desk.user.name} may look and not decide: ask an administrator for the role reviewer")
    return desk.store.verdicts.record(
        key, crop, value, user=desk.user.name, case=desk.case, note=note, authority=desk.authority
    )
