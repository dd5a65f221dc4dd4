"""Accessibility of a page, by axe-core in the browser."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

REFUSED = ("critical", "serious")


ATTEMPTS, PAUSE_MS = 8, 1500


def find_violations(page: Page) -> list[str]:
    """Return the critical and serious findings of axe-core that stay on the page.

    While a page is run, Streamlit fades what is not drawn again yet, so that its contrast is low for a moment.
    """
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    for _ in range(ATTEMPTS):
        findings = _findings(page)
        if not findings:
            break
        page.wait_for_timeout(PAUSE_MS)
    return findings


def _findings(page: Page) -> list[str]:
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{finding['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for finding in result["violations"]
        if finding["impact"] in REFUSED
        for node in finding["nodes"]
    ]
