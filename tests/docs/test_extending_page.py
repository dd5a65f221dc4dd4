"""docs/extending/page.md: the page of the guide, installed and shown."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.app_pages import run_app, words
from tests.support.guides import OpenGuide
from tests.support.guides import open_guide as open_guide
from vestigo.store.open import Store
from vestigo_ui.app.pages import registry


@pytest.fixture
def own_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove pages that the test registers after it."""
    monkeypatch.setattr(registry, "_pages", dict(registry._pages))
    registry._load_entry_points.cache_clear()


@pytest.mark.usefixtures("own_pages")
def test_guide_page_is_shown(open_guide: OpenGuide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = open_guide("page")
    guide.run_tests()
    assert guide.command("ui") == "vestigo ui --store archive"
    (tmp_path / "crops" / "camera=gate").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "crops" / "camera=gate" / "1.png"), np.full((128, 64, 3), 90, np.uint8))
    guide.run("vestigo index crops --store archive --detector none --executor inline --device cpu")

    app = run_app(monkeypatch, tmp_path / "archive", page="camera-counts", role="reviewer")
    assert not app.exception
    assert app.title[0].value == "Cameras"
    assert [(metric.label, metric.value) for metric in app.metric] == [("gate", "1")]
    with Store.open(tmp_path / "archive") as store:
        assert store.audit.entries(newest=True)[0].details["what"] == "crops of each camera"
    viewer = run_app(monkeypatch, tmp_path / "archive", page="camera-counts", role="viewer")
    assert "Cameras" not in words(viewer).splitlines()[0]
