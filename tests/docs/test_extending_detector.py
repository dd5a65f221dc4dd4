"""docs/extending/detector.md: the detector of the guide, installed and used."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.support.guides import OpenGuide
from tests.support.guides import open_guide as open_guide
from vestigo.store.open import Store


def test_guide_detector_is_used_by_index(open_guide: OpenGuide, tmp_path: Path) -> None:
    guide = open_guide("detector")
    guide.run_tests()
    (tmp_path / "footage").mkdir()
    frame = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "footage" / "frame.png"), frame)
    result = guide.run(guide.command("index") + " --executor inline --device cpu")
    assert (result["done"], result["crops"]) == (1, 1)
    with Store.open(tmp_path / "archive") as store:
        (row,) = (row for batch in store.crops.scan(("x", "y", "w", "h")) for row in batch.to_pylist())
    assert row == {"x": 40, "y": 10, "w": 80, "h": 160}
