"""The corner of the screen: who is signed in, the case that is worked on, hiding of heads, the way out."""

from __future__ import annotations

import streamlit as st

from vestigo_ui.app.context import AUTHORITY, BLUR, CASE, Desk
from vestigo_ui.app.text import plain

# The corner lies on the line of the navigation; pages begin right below it and use the whole width.
_STYLE = """<style>
.st-key-account { position: fixed; top: .45rem; right: 1rem; width: auto; z-index: 999991; }
[data-testid="stElementToolbar"]:not(:has(button)) { display: none; }
.stMainBlockContainer { padding: 3.6rem 2.4rem 3rem; }
.stMainBlockContainer h1 { font-size: 1.9rem; padding: .4rem 0 .2rem; }
.sign-out button {
  width: 100%; padding: .4rem; font: inherit; color: inherit; background: none; cursor: pointer;
  border: 1px solid var(--st-border-color, #8886); border-radius: .5rem;
}
</style>"""
_SIGN_OUT = '<form class="sign-out" method="post" action="/sign-out"><button type="submit">Sign out</button></form>'


def corner(desk: Desk) -> None:
    """Show the corner on every page."""
    st.html(_STYLE)
    with st.container(key="account"), st.popover(_label(desk), icon=":material/account_circle:"):
        st.caption(f"{plain(desk.user.name)} · {desk.user.role} · store {plain(desk.name)}")
        st.text_input("Case", key=CASE, placeholder="Case number", persist_state="session")
        st.text_input("Authorisation", key=AUTHORITY, placeholder="Who allowed it", persist_state="session")
        if desk.settings.privacy.blur == "optional":
            st.toggle("Hide faces and heads", key=BLUR, persist_state="session")
        elif desk.blurred:
            st.caption("Faces and heads are hidden.")
        st.html(_SIGN_OUT)


def case_is_missing(desk: Desk) -> bool:
    """Say what has to be named before anything is shown; return whether something has."""
    required = desk.settings.audit
    missing = [
        name
        for name, wanted, given in (
            ("a case number", required.require_case, desk.case),
            ("an authorisation", required.require_authority, desk.authority),
        )
        if wanted and not given
    ]
    if missing:
        st.info(
            f"Enter {' and '.join(missing)} under your name, at the top right: nothing is shown without, and both are "
            "written to the audit log.",
            icon=":material/gavel:",
        )
    return bool(missing)


def _label(desk: Desk) -> str:
    return f"{desk.user.name} · case {desk.case}" if desk.case else desk.user.name
