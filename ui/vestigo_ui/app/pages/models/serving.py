"""Which model serves, as admins decide: promotion and rollback, each confirmed in a dialog that names both models."""

from __future__ import annotations

import streamlit as st

from vestigo.promotion.promote import count_stale_crops, find_objection, promote_manually
from vestigo.resolve import open_registered
from vestigo.store.models.records import Model, Promotion, promotions_in_force
from vestigo_models.errors import ModelError, UsageError
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.errors import report_errors
from vestigo_ui.app.pages.models.registry import NOBODY, Registry, is_there
from vestigo_ui.app.text import escape_md, format_utc
from vestigo_ui.web.auth.users import Role

DONE, ASKED, TIMES = "models-done", "models-asked", "models-times"
"""Keys of the session: what was done last, the dialog that is open until it is finished or dismissed, and how many were
opened: each begins with an empty form, as what confirmed one change must not confirm the next."""
REASON_LENGTH = 2000


def promote(context: PageContext, model: Model, *, serving: str | None, sure: bool, reason: str) -> Promotion:
    """Let a model serve in the place of `serving`, which the person saw.

    Raises:
        UsageError: the person may not, is not sure, or gives no reason where one is needed.
        ModelError: the model's files are gone, or are another model's by now.
        StoreError: as `promote_manually`.
    """
    _confirmed(context, sure)
    reason = reason.strip()
    if find_objection(model, serving) is not None and not reason:
        raise UsageError("Say why: without the gate's word a model serves for a reason, which is kept")
    try:
        open_registered(model)
    except ModelError:
        raise ModelError(f"{model.name} cannot serve: {gone(model)}") from None
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


def take_back(context: PageContext, *, serving: str | None, sure: bool, reason: str) -> Promotion:
    """Roll the promotion of `serving` back, which the person saw. Raises UsageError, StoreError as `promote`."""
    _confirmed(context, sure)
    reason = reason.strip()
    return context.store.models.rollback(
        by=context.user.name,
        reasons=[reason] if reason else [],
        expected=serving,
        case=context.case,
        authority=context.authority,
    )


def gone(model: Model) -> str:
    """Say that a model's files are not what was registered, and what to do."""
    what = "its files have changed" if is_there(model) else "its files are not where they were"
    return f"{what} since it was registered; put them back, or index with another model"


def show_serving(context: PageContext, found: Registry) -> None:
    """Say what serves, what was done last and what is left to do; offer admins to take the last promotion back."""
    if said := st.session_state.pop(DONE, None):
        st.success(said, icon=":material/check_circle:")
    stale = count_stale_crops(found.crops, found.serving)
    if found.serving is None:
        st.caption("No promotion is in force: the newest model with crops is searched.")
    else:
        last = found.promotions[-1]
        st.markdown(
            f"**{escape_md(found.name(found.serving))}** serves since {format_utc(last.at)} UTC, "
            f"decided by {escape_md(last.by)}."
        )
        if stale:
            st.caption(
                f"{stale:,} crops are of other models: `vestigo index --reindex-stale --store STORE` replaces them."
            )
    if context.may(Role.ADMIN) and promotions_in_force(found.promotions):
        st.button("Roll back", icon=":material/undo:", key="models-rollback", on_click=_ask, args=("rollback",))
    if st.session_state.get(ASKED) == "rollback" and promotions_in_force(found.promotions):
        st.dialog("Roll back", icon=":material/undo:", on_dismiss=_asked)(_rollback_dialog)(context, found)


def show_promote(context: PageContext, found: Registry, model: Model) -> None:
    """Offer admins to let an opened model serve."""
    if not context.may(Role.ADMIN):
        if model.digest != found.serving:
            st.caption("An admin can let this model serve.")
        return
    if model.digest == found.serving:
        return
    st.button(
        "Promote",
        icon=":material/publish:",
        key="models-promote",
        type="primary",
        disabled=not is_there(model),
        on_click=_ask,
        args=(model.digest,),
    )
    if st.session_state.get(ASKED) == model.digest and is_there(model):
        st.dialog("Promote", icon=":material/publish:", on_dismiss=_asked)(_promote_dialog)(context, found, model)


def _promote_dialog(context: PageContext, found: Registry, model: Model) -> None:
    with report_errors():
        why = find_objection(model, found.serving)
        st.markdown(
            f"**{escape_md(found.name(model.digest))}** will serve in the place of "
            f"**{escape_md(found.name(found.serving))}**."
        )
        stale = count_stale_crops(found.crops, model.digest)
        st.caption(
            f"Index and search take it from now on; {stale:,} crops are of other models then and must be indexed again."
        )
        if why is not None:
            st.warning(f"It {escape_md(why)}.", icon=":material/gavel:")
        with st.form("models-promote-form", border=False):
            reason = st.text_area(
                "Reason" if why is None else "Reason (needed)",
                max_chars=REASON_LENGTH,
                key=f"models-reason-{st.session_state[TIMES]}",
            )
            sure = st.checkbox(
                f"Let {escape_md(model.name)} serve" + ("" if why is None else " all the same"),
                key=f"models-sure-{st.session_state[TIMES]}",
            )
            pressed = st.form_submit_button(f"Promote {escape_md(model.name)}", type="primary")
        if pressed:
            made = promote(context, model, serving=found.serving, sure=sure, reason=reason)
            _finish(context, found, made, "serves now, in the place of")


def _rollback_dialog(context: PageContext, found: Registry) -> None:
    with report_errors():
        last = promotions_in_force(found.promotions)[-1]
        now, then = escape_md(found.name(last.model)), escape_md(found.name(last.before))
        st.markdown(f"**{then}** will serve again in the place of **{now}**.")
        if last.before is None:
            st.caption("Without a promoted model the newest one with crops is searched.")
        with st.form("models-rollback-form", border=False):
            reason = st.text_area("Reason", max_chars=REASON_LENGTH, key=f"models-reason-{st.session_state[TIMES]}")
            sure = st.checkbox(f"Take the promotion of {now} back", key=f"models-sure-{st.session_state[TIMES]}")
            pressed = st.form_submit_button("Roll back", type="primary")
        if pressed:
            made = take_back(context, serving=found.serving, sure=sure, reason=reason)
            _finish(context, found, made, "serves again, in the place of" if made.model else "serves, in the place of")


def _finish(context: PageContext, found: Registry, made: Promotion, verb: str) -> None:
    """Say at the next run of the page what was done, and close the dialog."""
    name = NOBODY.capitalize() if made.model is None else found.name(made.model)
    said = f"{escape_md(name)} {verb} {escape_md(found.name(made.before))}."
    stale = count_stale_crops(context.store.models.crop_counts(), made.model)
    if made.model is not None and stale:
        said += (
            f" {stale:,} crops are of other models and are not searched with it: "
            "`vestigo index --reindex-stale --store STORE` indexes them again."
        )
    st.session_state[DONE] = said
    _asked()
    st.rerun()


def _confirmed(context: PageContext, sure: bool) -> None:
    if not context.may(Role.ADMIN):
        raise UsageError(f"{context.user.name} may not decide what serves: ask an administrator for the role admin")
    if not sure:
        raise UsageError("Tick the box to confirm")


def _ask(what: str) -> None:
    st.session_state[ASKED] = what
    st.session_state[TIMES] = st.session_state.get(TIMES, 0) + 1


def _asked() -> None:
    st.session_state.pop(ASKED, None)
