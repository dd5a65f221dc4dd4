"""The search page in a real browser: somebody picks a person, sees the answer, and looks at the frame around."""

from __future__ import annotations

import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.ui.conftest import Archive

PATIENCE_S = 180
"""A busy machine takes long to start Streamlit; nothing is measured here."""


@pytest.fixture(scope="module")
def address(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`vestigo ui` itself, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sysconfig.get_path("scripts")) / "vestigo"
    log = tmp_path_factory.mktemp("ui") / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [program, "ui", "--store", archive.store, "--port", str(port)], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/_stcore/health", server, log)
        yield url
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"{url} does not answer: {log.read_text()}")


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    page.goto(address)
    page.get_by_role("heading", name="Find a person").wait_for()
    yield page
    context.close()


def test_pick_a_person_see_the_answer_open_the_frame(page: Page, archive: Archive) -> None:
    tracklets = {row["tracklet"] for row in archive.crops}
    page.get_by_text(f"{len(tracklets)} sightings · page 1 of 1").wait_for()
    page.get_by_role("button", name="Find", exact=True).first.click()

    page.get_by_text("nearest first").wait_for()
    assert "crop=" in page.url
    page.locator("[data-test-script-state=notRunning]").wait_for()
    distances = [float(text.split()[-1]) for text in page.get_by_text("· distance").all_inner_texts()]
    assert len(distances) > 1
    assert distances == sorted(distances)

    page.get_by_role("button", name="Frame", exact=True).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("640x480 pixels").wait_for()
    picture = dialog.locator("img").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])") == [
        640,
        480,
    ]
    assert str(archive.store.parent) not in page.content()

    page.keyboard.press("Escape")
    page.get_by_role("button", name="New search").click()
    page.get_by_role("button", name="Find", exact=True).first.wait_for()
    assert "crop=" not in page.url


def test_upload_a_person(page: Page, archive: Archive) -> None:
    row = max(archive.crops, key=lambda row: row["quality"])
    page.get_by_role("tab", name="Upload a picture").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "person.jpg", "mimeType": "image/jpeg", "buffer": row["image"]}
    )
    page.locator("[data-testid=stTabPanel]:visible").get_by_role("button", name="Find", exact=True).click()
    page.get_by_text("nearest first").wait_for()
    nearest = page.get_by_text("· distance").first.inner_text()
    assert float(nearest.split()[-1]) < 0.05


def test_upload_something_else(page: Page) -> None:
    page.get_by_role("tab", name="Upload a picture").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"these are notes"}
    )
    page.get_by_text("no known image format").wait_for()


def test_a_link_to_a_crop_that_is_gone(page: Page, address: str) -> None:
    page.goto(f"{address}/?crop={'0' * 20}")
    page.get_by_text("is not in the store").wait_for()
