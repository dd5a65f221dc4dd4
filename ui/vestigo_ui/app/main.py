"""The app, as Streamlit runs it: from the top, again after every click. Six pages and what surrounds them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import streamlit as st

from vestigo_ui.app import freshness
from vestigo_ui.app.desk import AUTHORITY, BLUR, CASE, Desk, signed_in, sit_down
from vestigo_ui.app.pages import archive, attributes, find, models, rankings, review
from vestigo_ui.app.trouble import TROUBLES, tell, told

PAGES: dict[str, tuple[ModuleType, str, str]] = {
    "archive": (archive, "Archive", ":material/videocam:"),
    "find": (find, "Find", ":material/person_search:"),
    "rankings": (rankings, "Rankings", ":material/format_list_numbered:"),
    "attributes": (attributes, "Attributes", ":material/checkroom:"),
    "review": (review, "Review", ":material/rate_review:"),
    "models": (models, "Models", ":material/model_training:"),
}


def main() -> None:
    """Show the page that the address names, to whoever is signed in."""
    st.set_page_config(page_title="Vestigo", page_icon=":material/person_search:", layout="wide")
    user = signed_in()
    if user is None:
        st.warning("You are signed out. [Sign in](/sign-in) to go on.", icon=":material/lock:")
        return
    try:
        desk = sit_down(user)
    except TROUBLES as error:
        tell(error)
        return
    pages = [
        st.Page(_page(module.show, desk), title=title, icon=icon, url_path=path, default=path == "archive")
        for path, (module, title, icon) in PAGES.items()
    ]
    chosen = st.navigation(pages, position="top")
    _surroundings(desk)
    chosen.run()


def _page(show: Callable[[Desk], None], desk: Desk) -> Callable[[], None]:
    def run() -> None:
        with told():
            if _case_is_missing(desk):
                return
            freshness.show(desk)
            show(desk)

    return run


def _surroundings(desk: Desk) -> None:
    """The sidebar: who is signed in, the case, hiding of heads."""
    with st.sidebar:
        st.caption(f"**{desk.name}** · {desk.user.name}, {desk.user.role}")
        st.text_input("Case", key=CASE, placeholder="Case number", persist_state="session")
        st.text_input("Authorisation", key=AUTHORITY, placeholder="Who allowed it", persist_state="session")
        if desk.settings.privacy.blur == "optional":
            st.toggle("Hide faces and heads", key=BLUR, persist_state="session")
        elif desk.blurred:
            st.caption("Faces and heads are hidden.")
        st.link_button("Sign out", "/sign-out", icon=":material/logout:", width="stretch")


def _case_is_missing(desk: Desk) -> bool:
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
            f"Enter {' and '.join(missing)} in the sidebar: nothing is shown here without, and both are written to "
            "the audit log.",
            icon=":material/gavel:",
        )
    return bool(missing)
