"""Account menu at the top right: user, case, authorisation, hiding of heads, sign-out."""

from typing import Any

import streamlit as st

from vestigo_ui.app.context import AUTHORITY, BLUR, CASE, PageContext
from vestigo_ui.app.text import escape_md
from vestigo_ui.web.auth.identity import read_case, write_case
from vestigo_ui.web.auth.sessions import MAX_CASE_LENGTH

# The menu is on the line of the navigation; pages begin below it and use the whole width.
_STYLE = """<style>
.st-key-account { position: fixed; top: .45rem; right: 1rem; width: auto; z-index: 999991; }
[data-testid="stElementToolbar"]:not(:has(button)) { display: none; }
.stMainBlockContainer { padding: 3.6rem 2.4rem 3rem; }
[data-testid="stCaptionContainer"] { color: inherit; opacity: .82; }
[data-testid^="stBaseButton-"] kbd { color: inherit !important; opacity: 1 !important; }
@media (prefers-color-scheme: dark) {
  [data-testid^="stBaseButton-primary"], [data-testid^="stBaseButton-primary"] p { color: #04211f !important; }
}
.stMainBlockContainer h1 { font-size: 1.9rem; padding: .4rem 0 .2rem; }
.sign-out button {
  width: 100%; padding: .4rem; font: inherit; color: inherit; background: none; cursor: pointer;
  border: 1px solid var(--st-border-color, #8886); border-radius: .5rem;
}
</style>"""
SEEN = "account-seen"
"""Session key of the case and authorisation that the tab has shown."""
_SIGN_OUT = '<form class="sign-out" method="post" action="/sign-out"><button type="submit">Sign out</button></form>'


def show_menu(context: PageContext) -> None:
    """Show the account menu."""
    user = context.user
    label = escape_md(f"{user.name} · case {context.case}" if context.case else user.name)
    st.html(_STYLE)
    with st.container(key="account"), st.popover(label, icon=":material/account_circle:"):
        st.caption(f"{escape_md(user.name)} · {user.role} · store {escape_md(context.store_name)}")
        _show_case(context)
        if context.settings.privacy.blur == "optional":
            st.toggle("Hide faces and heads", key=BLUR, persist_state="session")
        elif context.blurred:
            st.caption("Faces and heads are hidden.")
        st.html(_SIGN_OUT)


def _show_case(context: PageContext) -> None:
    """Show the case and authorisation of the sign-in, which all its tabs share."""
    stored = read_case(context.user)
    if stored is not None:
        if (stored.case, stored.authority) != st.session_state.setdefault(SEEN, (stored.case, stored.authority)):
            st.toast("The case was changed in another tab.", icon=":material/gavel:")
        st.session_state[CASE], st.session_state[AUTHORITY] = st.session_state[SEEN] = stored.case, stored.authority

    def changed() -> None:
        st.session_state[SEEN] = st.session_state[CASE].strip(), st.session_state[AUTHORITY].strip()
        write_case(context.user, *st.session_state[SEEN])

    fields: dict[str, Any] = {"max_chars": MAX_CASE_LENGTH, "on_change": changed, "persist_state": "session"}
    st.text_input("Case", key=CASE, placeholder="Case number", **fields)
    st.text_input("Authorisation", key=AUTHORITY, placeholder="Reference of the approval", **fields)


def is_case_missing(context: PageContext) -> bool:
    """Return whether a required case or authorisation is missing, and ask for it if so."""
    required = context.settings.audit
    missing = []
    if required.require_case and not context.case:
        missing.append("a case number")
    if required.require_authority and not context.authority:
        missing.append("an authorisation")
    if missing:
        st.info(
            f"Enter {' and '.join(missing)} under your name, at the top right. Pages are shown after that; both are "
            "written to the audit log.",
            icon=":material/gavel:",
        )
    return bool(missing)
