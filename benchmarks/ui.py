"""Times and memory of pages of the screen on a large store, compared with the same pages of a small one.

    python benchmarks/browse_store.py LARGE --crops 1000000
    python benchmarks/browse_store.py SMALL --crops 10000
    python -m benchmarks.ui LARGE SMALL

Each store is served by `vestigo ui`. Chromium, signed in, opens every page by its address, as after a reload: from the
request to the sentence or crop that makes the page useful, front end, websocket and first run of the page included.
Then it turns to each page of the navigation, as people do: from the click to the same.
`find-search` ends when the answer stands there; its query does so as soon as the page.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.support.signed_in import serve_app, sign_in
from tools import provide
from vestigo.sightings.index import BrowseIndex
from vestigo.sightings.records import ALL_SIGHTINGS
from vestigo.store.open import Store

PATIENCE_MS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("large", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    found = {name: measured(getattr(arguments, name), arguments.rounds) for name in ("large", "small")}
    crops = {name: counted(getattr(arguments, name)) for name in found}
    print(f"| page | {crops['large']:,} crops: first, then (s) | {crops['small']:,} crops | ratio |\n|---|---|---|---|")
    for page, (first, later) in found["large"][0].items():
        small = found["small"][0][page][1]
        print(f"| {page} | {first:.2f}, {later:.2f} | {small:.2f} | {later / small:.2f} |")
    for name, (_, before, after) in found.items():
        print(f"server on the {name} store: {before:.0f} MB after the first page, {after:.0f} MB at the end")


def counted(store: Path) -> int:
    with Store.open(store, create=False) as opened:
        return sum(opened.models.crop_counts().values())


def addresses(store: Path) -> Mapping[str, tuple[str, str]]:
    """Page to its address and to what on it (a selector) makes it useful."""
    with Store.open(store, create=False) as opened, BrowseIndex.open(opened) as index:
        index.refresh()
        model = opened.models.list()[0].digest
        middle = index.count(model) // 2
        (sighting,) = index.page(model, ALL_SIGHTINGS, offset=middle, limit=1)
    tile = ".crop"
    return {
        "archive": ("/", tile),
        "find": ("/find", tile),
        "find, page 1000 of the archive": ("/find?page=1000", tile),
        "find-query": (f"/find?crop={sighting.crop}", tile),
        "find-search": (f"/find?crop={sighting.crop}", "text=/nearest/"),
        "attributes": ("/attributes", "text=/so sure/"),
        "rankings": ("/rankings", "text=No ranking"),
        "review": ("/review", "h1"),
        "models": ("/models", "h1"),
    }


def measured(store: Path, rounds: int) -> tuple[dict[str, tuple[float, float]], float, float]:
    """Page to seconds of the first look and the median of the later ones; megabytes before and after."""
    wanted = addresses(store)
    with tempfile.TemporaryDirectory() as folder, serve_app(store, Path(folder)) as screen, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=provide.find_browser(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        sign_in(page, screen.url)
        page.locator("h1").wait_for()
        before = resident(screen.process.pid)
        found = {}
        for name, (path, marker) in wanted.items():
            first, *later = looks(page, screen.url + path, marker, rounds)
            found[name] = first, statistics.median(later)
        page.goto(f"{screen.url}/models")
        for name in ("Archive", "Find", "Rankings", "Attributes", "Review"):
            first, *later = turns(page, name, wanted[name.lower()][1], rounds)
            found[f"turning to {name}"] = first, statistics.median(later)
        after = resident(screen.process.pid)
        browser.close()
    return found, before, after


def looks(page: Page, url: str, marker: str, rounds: int) -> Iterator[float]:
    for _ in range(rounds + 1):
        page.goto("about:blank")
        start = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.locator(marker).first.wait_for()
        yield time.perf_counter() - start


def turns(page: Page, name: str, marker: str, rounds: int) -> Iterator[float]:
    for _ in range(rounds + 1):
        page.get_by_role("link", name="Models").click()
        page.get_by_role("heading", name="Lineage").wait_for()
        page.locator("[data-test-script-state=notRunning]").wait_for()
        start = time.perf_counter()
        page.get_by_role("link", name=name).click()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        page.locator(marker).first.wait_for()
        yield time.perf_counter() - start


def resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
