"""The app, as Streamlit runs it: from the top, again after every click. Six pages and what surrounds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import streamlit as st

from vestigo_ui.app.components import account, freshness
from vestigo_ui.app.context import Desk, signed_in, sit_down
from vestigo_ui.app.errors import TROUBLES, tell, told
from vestigo_ui.app.pages.archive import page as archive
from vestigo_ui.app.pages.attributes import page as attributes
from vestigo_ui.app.pages.find import page as find
from vestigo_ui.app.pages.models import page as models
from vestigo_ui.app.pages.rankings import page as rankings
from vestigo_ui.app.pages.review import page as review

ICON = str(Path(__file__).with_name("icon.png"))
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
    st.set_page_config(page_title="Vestigo", page_icon=ICON, layout="wide")
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
    account.corner(desk)
    chosen.run()


def _page(show: Callable[[Desk], None], desk: Desk) -> Callable[[], None]:
    def run() -> None:
        with told():
            if account.case_is_missing(desk):
                return
            freshness.show(desk)
            show(desk)

    return run
