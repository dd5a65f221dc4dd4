"""Screenshots of the app, kept as artefacts of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "test-artefacts" / "screenshots"
WIDTHS = (1280, 1920)
HEIGHT = 1080


def keep(page: Page, name: str, *, scheme: Literal["light", "dark"] = "light") -> None:
    """Keep what a person sees, the whole page at each width, as `NAME-WIDTH.png`."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    page.emulate_media(color_scheme=scheme)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        settled(page)
        suffix = "" if scheme == "light" else "-dark"
        page.screenshot(path=FOLDER / f"{name}{suffix}-{width}.png")


def settled(page: Page) -> None:
    """Wait until the app has run, its pictures are there and nothing moves."""
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    page.wait_for_timeout(400)
