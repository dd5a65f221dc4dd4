"""Verdicts about a result: shown and recorded next to the distances, which they never change."""

from vestigo.store.audit.records import Verdict, VerdictValue
from vestigo_models.errors import UsageError
from vestigo_ui.app.components.actions import UserAction
from vestigo_ui.app.components.contact_sheet import Tone
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.text import format_utc
from vestigo_ui.web.auth.users import Role

MARKS: dict[str, tuple[str, Tone]] = {
    "confirmed": ("Confirmed", "right"),
    "rejected": ("Rejected", "wrong"),
    "not sure": ("Not sure", "unsure"),
}
VERDICTS: dict[str, VerdictValue | None] = {
    "confirm": "confirmed",
    "reject": "rejected",
    "not-sure": "not sure",
    "withdraw": None,
}
"""Verdict of each action."""


def format_verdict(verdict: Verdict | None) -> str:
    """Return a verdict with its author, time and note, or that there is none."""
    if verdict is None or verdict.verdict is None:
        return "This result has no verdict yet."
    line = f"{verdict.verdict.capitalize()} by {verdict.user}, {format_utc(verdict.at)} UTC"
    return f"{line}: {verdict.note}" if verdict.note else line


def record_verdict(context: PageContext, key: str, action: UserAction) -> Verdict:
    """Record a verdict of the user about a result of the query with a `key`, with the action's note.

    Raises:
        UsageError: The user is not a reviewer, or the action is no verdict.
        StoreError: The verdict cannot be written.
    """
    context.require(Role.REVIEWER, "A verdict")
    if action.action not in VERDICTS:
        raise UsageError(f"{action.action!r} is not a verdict: {', '.join(VERDICTS)}")
    return context.store.verdicts.record(
        key,
        action.crop,
        VERDICTS[action.action],
        user=context.user.name,
        case=context.case,
        note=action.note,
        authority=context.authority,
    )
