"""Registry of the app's pages: the list that the navigation is built from."""

import functools
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

from vestigo_models.errors import ConfigError
from vestigo_ui.app.context import PageContext
from vestigo_ui.web.auth.users import Role

ENTRY_POINT_GROUP = "vestigo.pages"
ShowPage = Callable[[PageContext], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AppPage:
    """A page of the app.

    Attributes:
        path: Path in the address without the slash, such as `find`.
        title: Title in the navigation.
        icon: Icon in the navigation, such as `:material/videocam:`.
        load: Returns the function that shows the page; called each time the page is shown.
        role: Least role that sees the page.
    """

    path: str
    title: str
    icon: str
    load: Callable[[], ShowPage]
    role: Role = Role.VIEWER


def register_page(page: AppPage) -> None:
    """Add a page to the navigation, after those that are registered already.

    Raises:
        ConfigError: Another page has the same path.
    """
    if page.path in _pages and _pages[page.path] != page:
        raise ConfigError(f"Two pages have the path {page.path!r}. Give one of them another path.")
    _pages[page.path] = page


def registered_pages() -> tuple[AppPage, ...]:
    """Return all pages in the order of the navigation: built-in, registered, and of installed packages.

    An installed package names its pages, `AppPage` objects, as entry points of the group `vestigo.pages`.
    """
    _load_entry_points()
    return tuple(_pages.values())


@functools.cache
def _load_entry_points() -> None:
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            register_page(entry.load())
        except Exception:
            # A broken extension must not hide the other pages.
            log.exception("Page %s of the group %s cannot be loaded.", entry.name, ENTRY_POINT_GROUP)


def _built_in(path: str, title: str, icon: str) -> AppPage:
    def load() -> ShowPage:
        show: ShowPage = importlib.import_module(f"vestigo_ui.app.pages.{path}.page").show
        return show

    return AppPage(path=path, title=title, icon=f":material/{icon}:", load=load)


_pages = {
    page.path: page
    for page in (
        _built_in("archive", "Archive", "videocam"),
        _built_in("find", "Find", "person_search"),
        _built_in("rankings", "Rankings", "format_list_numbered"),
        _built_in("attributes", "Attributes", "checkroom"),
        _built_in("review", "Review", "rate_review"),
        _built_in("models", "Models", "model_training"),
    )
}
