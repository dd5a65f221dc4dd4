"""Entry point of the app, which Streamlit runs after every click: navigation, account menu and the open page."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from vestigo_ui.app import url_state
from vestigo_ui.app.components import account, actions, freshness
from vestigo_ui.app.context import PageContext, make_context, signed_in_user
from vestigo_ui.app.errors import STORE_ERRORS, report_errors, show_error
from vestigo_ui.app.pages.registry import AppPage, registered_pages

ICON = str(Path(__file__).with_name("icon.png"))


def main() -> None:
    """Show the page that the address names to the signed-in user."""
    st.set_page_config(page_title="Vestigo", page_icon=ICON, layout="wide")
    user = signed_in_user()
    if user is None:
        st.warning("You are signed out. [Sign in](/sign-in) to continue.", icon=":material/lock:")
        return
    try:
        context = make_context(user)
    except STORE_ERRORS as error:
        show_error(error)
        return
    pages = [
        st.Page(_runner(page, context), title=page.title, icon=page.icon, url_path=page.path, default=place == 0)
        for place, page in enumerate(page for page in registered_pages() if context.may(page.role))
    ]
    page = st.navigation(pages, position="top")
    account.show_menu(context)
    with report_errors():
        actions.apply_actions(context)
    page.run()
    actions.rerun_for_waiting()


def _runner(page: AppPage, context: PageContext) -> Callable[[], None]:
    def run() -> None:
        top = st.container()
        with report_errors():
            if account.is_case_missing(context):
                return
            freshness.refresh_index(context)
            page.load()(context)
        with top:
            url_state.show_refused()

    return run
