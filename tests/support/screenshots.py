"""Screenshots of the app, kept as artefacts of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "test-artefacts" / "screenshots"
WIDTHS = (1280, 1920)
HEIGHT = 1080
QUIET_MS = 150
IS_SETTLED = """quiet => {
    if (!window.changes) {
        window.changedAt = performance.now();
        window.changes = new MutationObserver(() => { window.changedAt = performance.now(); });
        const everything = {subtree: true, childList: true, attributes: true, characterData: true};
        window.changes.observe(document, everything);
    }
    const moves = (animation) =>
        animation.playState === "running" && animation.effect?.getComputedTiming().endTime !== Infinity;
    return document.querySelector("[data-test-script-state=notRunning]")
        && !document.querySelector("[data-testid=stSkeleton]")
        && [...document.images].every((image) => image.complete)
        && !document.getAnimations().some(moves)
        && performance.now() - window.changedAt >= quiet;
}"""


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
    """Wait until the app has run, its images are there, nothing is animated and nothing changes."""
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.evaluate("window.changedAt = performance.now()")
    page.wait_for_function(IS_SETTLED, arg=QUIET_MS)
