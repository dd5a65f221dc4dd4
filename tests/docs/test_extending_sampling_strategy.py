"""docs/extending/sampling-strategy.md: the strategy of the guide, installed and used."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.support.guides import OpenGuide
from tests.support.guides import open_guide as open_guide


def test_guide_strategy_is_used_by_label_push(open_guide: OpenGuide, tmp_path: Path) -> None:
    guide = open_guide("sampling-strategy")
    guide.run_tests()
    (tmp_path / "crops").mkdir()
    for number, image in enumerate(np.random.default_rng(0).integers(0, 255, (3, 128, 64, 3), dtype=np.uint8)):
        cv2.imwrite(str(tmp_path / "crops" / f"{number}.png"), image)
    guide.run("vestigo index crops --store archive --detector none --executor inline --device cpu")
    result = guide.run(guide.command("label push"))
    assert result["dry_run"]
    assert result["strategy"] == "margin"
    assert result["tasks"] == result["population"] == 3
