"""Bar of an open result: to the previous and next one, and the verdict with its note."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from vestigo.store.audit.verdicts import NOTE_LENGTH
from vestigo_ui.app import url_state
from vestigo_ui.app.components.actions import DIALOG_KEY, UserAction, apply_dialog_actions, handle_actions
from vestigo_ui.app.components.result.verdict import MARKS, VERDICTS, format_verdict, record_verdict
from vestigo_ui.app.context import PageContext
from vestigo_ui.web.auth.users import Role

LOOK = "look"
"""Parameter of the address that holds the open crop."""
BUTTONS = (
    ("confirm", "Confirm", "Y"),
    ("reject", "Reject", "X"),
    ("not-sure", "Not sure", "N"),
    ("withdraw", "Withdraw", "W"),
)
STEPS = {"previous": -1, "next": 1}
_COMPONENT: dict[str, Any] = {
    "html": '<div class="bar"></div>',
    "css": Path(__file__).with_suffix(".css").read_text("utf-8"),
    "js": Path(__file__).with_suffix(".js").read_text("utf-8"),
}


def apply_bar_actions(context: PageContext, order: Sequence[str], key: str | None) -> dict[str, str]:
    """Apply the steps through an `order` of crops and the verdicts that the bar sent; return their outcomes by id.

    `key` is that of the query's verdicts, None where no verdict can be given.
    """

    def handle(action: UserAction) -> None:
        if action.action in STEPS:
            _step(order, action.crop, STEPS[action.action])
        elif key is not None:
            record_verdict(context, key, action)

    handle_actions(_scope(context, key), handle)
    return apply_dialog_actions(context)


def show_bar(
    context: PageContext, order: Sequence[str], crop: str, key: str | None, outcomes: Mapping[str, str]
) -> None:
    """Show buttons to the previous and next result of an `order` of crops, and the verdict about a crop.

    Reviewers get buttons for verdicts. `key` and `outcomes` are those of `apply_bar_actions`.
    """
    place = order.index(crop) if crop in order else None
    verdict = None if key is None else context.store.verdicts.current(key, context.case).get(crop)
    may_judge = key is not None and context.may(Role.REVIEWER)
    buttons = [
        {"name": name, "label": label, "key": letter, "mark": MARKS[value][0] if value else ""}
        for name, label, letter in BUTTONS
        for value in (VERDICTS[name],)
    ]
    data = {
        "scope": _scope(context, key),
        "outcomes": outcomes,
        "crop": crop,
        "place": "Not among the results" if place is None else f"{place + 1:,} of {len(order):,}",
        "previous": place is not None and place > 0,
        "next": place is not None and place + 1 < len(order),
        "buttons": buttons if may_judge else [],
        "mark": MARKS[verdict.verdict][0] if verdict is not None and verdict.verdict else "",
        "note": (verdict and verdict.note) or "",
        "noteLength": NOTE_LENGTH,
        "text": "" if key is None else format_verdict(verdict),
    }
    st.components.v2.component("vestigo.verdict", **_COMPONENT)(
        key=DIALOG_KEY, data=data, on_actions_change=lambda: None
    )


def _scope(context: PageContext, key: str | None) -> str:
    return f"result {key} {context.case or ''}"


def _step(order: Sequence[str], crop: str, step: int) -> None:
    """Open the result before or after the one that was shown at that moment."""
    if crop in order and 0 <= order.index(crop) + step < len(order):
        url_state.put(**{LOOK: order[order.index(crop) + step]})
