"""Promotion and rollback by admins, confirmed in a dialog that names both models, and indexing with the new model."""

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from vestigo.promotion.promote import count_stale_crops, find_objection, promote_manually
from vestigo.resolve import is_package, open_registered
from vestigo.store.models.records import Model, Promotion, promotions_in_force
from vestigo_models.errors import ModelError, UsageError
from vestigo_ui.app.components.actions import action_button
from vestigo_ui.app.components.processes import shared_processes, show_process, start_process
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import STORE_ERRORS, report_errors, show_error
from vestigo_ui.app.pages.archive.runs import show_active_runs
from vestigo_ui.app.pages.models.registry import NO_MODEL, RegistryView
from vestigo_ui.app.text import escape_md, format_utc
from vestigo_ui.web.auth.users import Role

LAST_CHANGE, REFUSAL = "models-done", "models-refusal"
"""Session keys: the message of the last change, and the error of one that was refused."""
OPEN_DIALOG, DIALOGS_OPENED = "models-dialog", "models-times"
"""Session keys: the open dialog, and the number of dialogs opened so far.

The number makes each dialog start with an empty form: the confirmation of one change must not confirm the next.
"""
REASON_LENGTH = 2000
REINDEX, REINDEX_TOO = "reindex", "models-reindex-too"
"""Name of the process that indexes the archive again, and of its log; session key of whether a promotion starts it."""


def promote(context: PageContext, model: Model, *, serving: str | None, sure: bool, reason: str) -> Promotion:
    """Promote a model in the place of `serving`, which the user saw.

    Raises:
        UsageError: If the user is no admin, has not confirmed, or gives no reason where one is required.
        ModelError: If the package of the model is missing or has changed.
        StoreError: As `promote_manually`.
    """
    _require_confirmation(context, sure)
    reason = reason.strip()
    if find_objection(model, serving) is not None and not reason:
        raise UsageError("Promoting a model that has not passed the gate requires a reason.")
    try:
        open_registered(model)
    except ModelError:
        raise ModelError(f"{model.name} cannot serve: {describe_missing_package(model)}") from None
    return promote_manually(
        context.store,
        model,
        by=context.user.name,
        serving=serving,
        reason=reason or None,
        force=True,
        case=context.case,
        authority=context.authority,
    )


def roll_back(context: PageContext, *, serving: str | None, sure: bool, reason: str) -> Promotion:
    """Roll back the promotion of `serving`, which the user saw.

    Raises:
        UsageError: If the user is no admin or has not confirmed.
        StoreError: If another model serves by now.
    """
    _require_confirmation(context, sure)
    reason = reason.strip()
    return context.store.models.rollback(
        by=context.user.name,
        reasons=[reason] if reason else [],
        expected=serving,
        case=context.case,
        authority=context.authority,
    )


def describe_missing_package(model: Model) -> str:
    """Return what is wrong with the package of a model, and the remedy."""
    problem = "its files have changed" if is_package(model.location) else "its files are not where they were"
    return f"{problem} since it was registered; restore them, or index with another model"


def show_serving(context: PageContext, registry: RegistryView) -> None:
    """Show the serving model, the last change and stale crops; offer the rollback to admins."""
    if message := st.session_state.pop(LAST_CHANGE, None):
        st.success(message, icon=":material/check_circle:")
    stale = count_stale_crops(registry.crops, registry.serving)
    if registry.serving is None:
        st.caption("No promotion is in force: the newest model with crops is searched.")
    else:
        last = registry.promotions[-1]
        st.markdown(
            f"**{escape_md(registry.name(registry.serving))}** serves since {format_utc(last.at)} UTC, promoted by "
            f"{escape_md(last.by)}."
        )
        if stale and not registry.crops.get(registry.serving):
            answering = registry.name(context.model().digest)
            st.warning(
                f"It has no crops yet: {escape_md(answering)} answers until the archive is indexed again.",
                icon=":material/hourglass_top:",
            )
        if stale:
            st.caption(
                f"{stale:,} crops are of other models: `vestigo index --reindex-stale --store STORE` replaces them."
            )
            if context.may(Role.ADMIN) and not shared_processes().is_running(REINDEX):
                action_button("Index again", partial(_start_reindex, context), key=REINDEX, icon=":material/replay:")
    show_active_runs(context)
    running = "The archive is indexed again with the serving model."
    show_process(context, REINDEX, running=running, failed="Indexing again")
    if context.may(Role.ADMIN) and promotions_in_force(registry.promotions):
        _dialog_button("Roll back", ":material/undo:", "rollback", _rollback_dialog, context, registry)


def show_promote(context: PageContext, registry: RegistryView, model: Model) -> None:
    """Offer the promotion of a model to admins."""
    if model.digest == registry.serving:
        return
    if not context.may(Role.ADMIN):
        st.caption("An admin can promote this model.")
        return
    options: dict[str, Any] = {"key": "models-promote", "type": "primary", "disabled": not is_package(model.location)}
    arguments = context, registry, model
    _dialog_button("Promote", ":material/publish:", model.digest, _promote_dialog, *arguments, **options)


def _dialog_button(
    label: str, icon: str, name: str, show: Callable[..., None], *arguments: Any, **options: Any
) -> None:
    """Show a button that opens the dialog `name` with an empty form."""

    def open_dialog() -> None:
        st.session_state[OPEN_DIALOG] = name
        st.session_state[DIALOGS_OPENED] = st.session_state.get(DIALOGS_OPENED, 0) + 1

    st.button(label, icon=icon, on_click=open_dialog, **options)
    if st.session_state.get(OPEN_DIALOG) == name:
        st.dialog(label, icon=icon, on_dismiss=_close_dialog)(show)(*arguments)


@report_errors()
def _promote_dialog(context: PageContext, registry: RegistryView, model: Model) -> None:
    objection = find_objection(model, registry.serving)
    name, serving = escape_md(registry.name(model.digest)), escape_md(registry.name(registry.serving))
    st.markdown(f"**{name}** will serve in the place of **{serving}**.")
    stale = count_stale_crops(registry.crops, model.digest)
    st.caption(
        f"Index takes it from now on; {stale:,} crops are of other models and must be indexed again. Without crops "
        "of its own it does not answer: the model before it does until that has ended."
    )
    if objection is not None:
        st.warning(f"It {escape_md(objection)}.", icon=":material/gavel:")
    confirmation = f"Let {escape_md(model.name)} serve" + ("" if objection is None else " all the same")
    label = "Reason" if objection is None else "Reason (required)"
    if stale:
        st.checkbox("Then index the archive again with it", True, key=REINDEX_TOO)

    def change(sure: bool, reason: str) -> str:
        promotion = promote(context, model, serving=registry.serving, sure=sure, reason=reason)
        if stale and st.session_state.get(REINDEX_TOO):
            _start_reindex(context)
        return _describe_change(context, registry, promotion, "serves now, in the place of")

    _show_form(f"Promote {escape_md(model.name)}", label, confirmation, change)


@report_errors()
def _rollback_dialog(context: PageContext, registry: RegistryView) -> None:
    last = promotions_in_force(registry.promotions)[-1]
    now, then = escape_md(registry.name(last.model)), escape_md(registry.name(last.before))
    st.markdown(f"**{then}** will serve again in the place of **{now}**.")
    if last.before is None:
        st.caption("Without a promoted model the newest one with crops is searched.")

    def change(sure: bool, reason: str) -> str:
        promotion = roll_back(context, serving=registry.serving, sure=sure, reason=reason)
        verb = "serves again, in the place of" if promotion.model else "serves, in the place of"
        return _describe_change(context, registry, promotion, verb)

    _show_form("Roll back", "Reason", f"Take the promotion of {now} back", change)


def _start_reindex(context: PageContext) -> None:
    """Start to replace the crops of other models by crops of the serving model; the user must be an admin."""
    context.require(Role.ADMIN, "Indexing again")
    if shared_processes().is_running(REINDEX):
        raise UsageError("The archive is being indexed again already.")
    context.audit("reindex", model=context.store.models.serving())
    start_process(context, REINDEX, ["index", "--reindex-stale", f"--store={context.store.ref}"])


def _show_form(button: str, label: str, confirmation: str, change: Callable[[bool, str], str]) -> None:
    """Show a reason under `label`, a confirmation, and a button that makes the change and closes the dialog.

    Args:
        button: Text of the button.
        label: Label of the reason.
        confirmation: What the user confirms.
        change: Takes whether the user has confirmed, and the reason; returns the message for the page.
    """
    number = st.session_state[DIALOGS_OPENED]
    reason_key, sure_key = f"models-reason-{number}", f"models-sure-{number}"

    def make_change() -> None:
        try:
            message = change(bool(st.session_state.get(sure_key)), st.session_state.get(reason_key) or "")
        except STORE_ERRORS as error:
            st.session_state[REFUSAL] = error
            raise
        st.session_state[LAST_CHANGE] = message
        _close_dialog()

    st.text_area(label, max_chars=REASON_LENGTH, key=reason_key)
    st.checkbox(confirmation, key=sure_key)
    action_button(button, make_change, key=f"models-change-{number}", type="primary")
    if error := st.session_state.pop(REFUSAL, None):
        show_error(error)
    if OPEN_DIALOG not in st.session_state:
        st.rerun()


def _describe_change(context: PageContext, registry: RegistryView, promotion: Promotion, verb: str) -> str:
    """Return the message about a change."""
    name = NO_MODEL.capitalize() if promotion.model is None else registry.name(promotion.model)
    message = f"{escape_md(name)} {verb} {escape_md(registry.name(promotion.before))}."
    stale = count_stale_crops(context.store.models.crop_counts(), promotion.model)
    if promotion.model is not None and stale:
        message += (
            f" {stale:,} crops are of other models and are not searched with it: "
            "`vestigo index --reindex-stale --store STORE` indexes them again."
        )
    return message


def _require_confirmation(context: PageContext, sure: bool) -> None:
    context.require(Role.ADMIN, "A promotion or rollback")
    if not sure:
        raise UsageError("Tick the box to confirm.")


def _close_dialog() -> None:
    st.session_state.pop(OPEN_DIALOG, None)
