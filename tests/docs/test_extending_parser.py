"""docs/extending/parser.md: the parser of the guide, installed and used."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.support.guides import OpenGuide
from tests.support.guides import open_guide as open_guide


def test_guide_parser_writes_label_maps(open_guide: OpenGuide, tmp_path: Path) -> None:
    guide = open_guide("parser")
    guide.run_tests()
    (tmp_path / "crops").mkdir()
    cv2.imwrite(str(tmp_path / "crops" / "person.jpg"), np.full((100, 50, 3), 90, np.uint8))
    result = guide.run(guide.command("regions") + " --device cpu")
    assert (result["images"], result["quarantined"]) == (1, 0)
    labels = cv2.imread(str(tmp_path / "maps" / "person.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (100, 50)
    assert labels[[5, 30, 70, 95], 25].tolist() == [1, 2, 3, 4]
    assert not labels[:, 0].any()
