"""docs/extending/schema.md: the schema and the labels of the guide, through its commands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.support.guides import OpenGuide
from tests.support.guides import open_guide as open_guide

SMALL = """
network: {backbone: tiny, neck: concat, channels: 8, attributes: global}
batch_identities: 2
images_per_identity: 2
epochs: 1
input_size: [64, 32]
"""
"""The configuration that takes the place of `tiny`, which four people are too few for."""


def test_guide_schema_is_used_by_commands(open_guide: OpenGuide, tmp_path: Path) -> None:
    guide = open_guide("schema")
    guide.run_tests()
    people = tmp_path / "people"
    rng = np.random.default_rng(0)
    for folder, pids in (("bounding_box_train", (1, 2)), ("query", (3, 4)), ("bounding_box_test", (3, 4))):
        (people / folder).mkdir(parents=True)
        for pid in pids:
            for camera in (1, 2):
                image = rng.integers(0, 255, (64, 32, 3), dtype=np.uint8)
                cv2.imwrite(str(people / folder / f"{pid:04d}_c{camera}s1_000001_00.jpg"), image)
    (tmp_path / "attributes.csv").rename(people / "attributes.csv")
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")

    guide.run(guide.command("train").replace(" tiny ", " small.yaml "))
    evaluated = guide.run(guide.command("evaluate"))
    assert list(evaluated["attributes"]) == ["mask", "shoes", "coat"]
    assert None not in evaluated["attributes"].values()
    guide.run(guide.command("index") + " --executor inline")
    results = guide.run(guide.command("search"))["results"]
    assert list(results[0]["attributes"]) == ["mask", "shoes", "coat"]
    assert guide.run(guide.command("label push"))["strategy"] == "entropy of mask"
