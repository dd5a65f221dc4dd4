from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.platform.retrieval.test_search_filtered import (
    ALWAYS,
    BLOCK,
    PARTS,
    equation_14,
    facts,
    people,
    predictions_of,
)
from tests.support import fake_gallery as fake_archive
from tests.support.fake_gallery import NEWER, FakeArchive
from vestigo.retrieval.explain import block_names, explain, explain_where
from vestigo.retrieval.query import Query, fuse_views
from vestigo.retrieval.search import search_conditions, search_query
from vestigo.store.models.records import ModelFacts
from vestigo_models.errors import ConfigError, StoreError, UsageError
from vestigo_models.inference.distance import Descriptors, part_visible_distance, unpacked
from vestigo_models.inference.features import CropFeatures
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.schemas.regions import BODY_REGIONS, REGIONS, cluster_regions

pytestmark = pytest.mark.usefixtures("cameras_without_bias")

LAYOUTS = {
    "everything": (3, 5, True),
    "no parts": (2, 0, True),
    "no attributes": (2, 5, False),
    "one vector": (1, 0, False),
}


def archive_of(layout: str) -> FakeArchive:
    """Crops of a model with so many always-present features and parts, with attributes or without."""
    always, parts, attributes = LAYOUTS[layout]
    archive = people(60, facts=ModelFacts())
    kept = [*range(always), *range(ALWAYS, ALWAYS + parts)]
    for row in archive.rows:
        row["embedding"] = row["embedding"].reshape(-1, BLOCK)[kept].reshape(-1)
        row["visible"] = row["visible"] if parts else 0
        row["attributes"] = row["attributes"] if attributes else []
    archive.facts = ModelFacts(
        always=always,
        parts=parts,
        blocks=(BLOCK,) * (always + parts) if layout != "one vector" else (),
        attributes=MARKET_1501 if attributes else None,
        regions=REGIONS if parts else None,
    )
    return archive


def appearance(rows: list[dict[str, Any]], facts: ModelFacts) -> CropFeatures:
    descriptors = Descriptors(
        vectors=np.stack([row["embedding"] for row in rows]),
        visible=unpacked(np.array([row["visible"] for row in rows], np.int32), facts.parts),
        always=facts.always,
    )
    probabilities = np.array([row["attributes"] for row in rows], np.float32).reshape(len(rows), -1)
    return CropFeatures(
        descriptors=descriptors, probabilities=probabilities, areas=np.empty((len(rows), 0), np.float32)
    )


def query_of(archive: FakeArchive, crops: int, views: int) -> Query:
    rows = archive.rows[50 : 50 + views]
    return Query(
        crops=tuple(row["crop_id"] for row in archive.rows[:crops]),
        views=appearance(rows, archive.facts) if views else None,
        model=NEWER,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("crops", "views"), [(1, 0), (3, 0), (0, 2), (2, 3)])
def test_shares_add_up_to_the_distance_of_the_search(layout: str, crops: int, views: int) -> None:
    archive = archive_of(layout)
    query = query_of(archive, crops, views)
    requests = [*archive.rows[:crops], *archive.rows[50 : 50 + views]]
    person = fuse_views(appearance(requests, archive.facts), archive.facts.blocks)
    hits = search_query(archive, query, top=60).hits
    assert len(hits) == 60 - crops
    for hit in hits:
        why = explain(archive, query, hit.crop)
        assert why.distance == pytest.approx(hit.distance, abs=1e-12)
        assert max(math.fsum(block.share for block in why.blocks), 0.0) == pytest.approx(hit.distance, abs=1e-12)
        row = next(row for row in archive.rows if row["crop_id"] == hit.crop)
        there = appearance([row], archive.facts).descriptors
        assert why.distance == pytest.approx(part_visible_distance(person.descriptors, there)[0, 0], abs=1e-5)


def test_blocks_are_compared_one_by_one() -> None:
    archive = people(40)
    query = archive.rows[4]
    for row in archive.rows:
        why = explain(archive, Query(crops=(query["crop_id"],)), row["crop_id"])
        assert why.distance == pytest.approx(max(equation_14(query, row), 0.0), abs=1e-9)
        assert len(why.blocks) == ALWAYS + PARTS
        both = [block for block in why.blocks if block.in_query and block.in_crop]
        assert [block for block in why.blocks if block.distance is not None] == both
        for place, block in enumerate(why.blocks):
            bit = 1 << max(place - ALWAYS, 0)
            assert block.in_query == (place < ALWAYS or bool(query["visible"] & bit))
            assert block.in_crop == (place < ALWAYS or bool(row["visible"] & bit))
            if block.distance is None:
                assert block.share == 0.0
                continue
            span = slice(place * BLOCK, place * BLOCK + BLOCK)
            cosine = sum(
                float(a) * float(b) for a, b in zip(query["embedding"][span], row["embedding"][span], strict=True)
            )
            assert block.distance == pytest.approx(1 - cosine, abs=1e-12)
            assert block.share == pytest.approx((1 - cosine) / len(both), abs=1e-12)


def test_a_crop_is_at_no_distance_from_itself() -> None:
    archive = people(40)
    for row in archive.rows:
        assert 0.0 <= explain(archive, Query(crops=(row["crop_id"],)), row["crop_id"]).distance < 1e-6


def test_attributes_that_surely_disagree_come_first() -> None:
    archive = people(40)
    query = archive.rows[3]
    for row in archive.rows[4:]:
        why = explain(archive, Query(crops=(query["crop_id"],)), row["crop_id"])
        ours, theirs = predictions_of(query), predictions_of(row)
        assert sorted(match.name for match in why.attributes) == sorted(MARKET_1501.names)
        seen = []
        for match in why.attributes:
            assert (match.query, match.query_confidence) == pytest.approx(ours[match.name], abs=1e-6)
            assert (match.crop, match.crop_confidence) == pytest.approx(theirs[match.name], abs=1e-6)
            assert match.title == MARKET_1501[match.name].title
            least = min(ours[match.name][1], theirs[match.name][1])
            same = ours[match.name][0] == theirs[match.name][0]
            expected = "unsure" if least < 0.7 else "agree" if same else "disagree"
            assert match.agreement == expected
            seen.append((("disagree", "agree", "unsure").index(expected), -least))
        assert seen == sorted(seen)


def test_conditions_are_compared_as_the_search_for_them_does() -> None:
    archive = people(80)
    where = "gender=female,backpack=yes,hat=no"
    for hit in search_conditions(archive, where, top=80).hits:
        why = explain_where(archive, where, hit.crop, model=NEWER)
        assert why.distance == pytest.approx(hit.distance, abs=1e-6)
        assert why.blocks == ()
        assert {match.name: match.query for match in why.attributes} == {
            "gender": "female",
            "backpack": "yes",
            "hat": "no",
        }
        assert {match.query_confidence for match in why.attributes} == {1.0}
        assert {match.name: match.crop for match in why.attributes} == {
            match.name: hit.attributes[match.name] for match in why.attributes
        }


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (ModelFacts(), ["whole crop"]),
        (ModelFacts(always=2, attributes=MARKET_1501), ["whole crop", "crop and attributes"]),
        (ModelFacts(always=1, regions=REGIONS), ["whole crop"]),
        (
            ModelFacts(always=2, parts=4, regions=BODY_REGIONS),
            ["whole crop", "person without background", "head", "upper body", "lower body", "shoes"],
        ),
        (
            ModelFacts(always=1, parts=2, regions=BODY_REGIONS, part_names=("lower", "shoes")),
            ["whole crop", "lower body", "shoes"],
        ),
        (
            ModelFacts(always=3, parts=2, regions=cluster_regions(3), attributes=MARKET_1501),
            ["whole crop", "person without background", "crop and attributes", "cluster 1", "cluster 2"],
        ),
        (ModelFacts(always=1, parts=2), ["whole crop", "part 1", "part 2"]),
    ],
)
def test_blocks_have_names_for_people(facts: ModelFacts, names: list[str]) -> None:
    assert list(block_names(facts)) == names


def test_unexplainable_results_are_refused() -> None:
    archive = people(10, facts=facts())
    own = archive.rows[0]["crop_id"]
    with pytest.raises(StoreError, match="not in the store"):
        explain(archive, Query(crops=(own,)), "f" * 20)
    with pytest.raises(UsageError, match="a search needs a crop"):
        explain(archive, Query(), own)
    with pytest.raises(ConfigError, match="unknown attribute"):
        explain_where(archive, "wings=yes", own, model=NEWER)
    plain = fake_archive.people(10)
    with pytest.raises(UsageError, match="predicts no attributes"):
        explain_where(plain, "gender=female", plain.rows[0]["crop_id"], model=NEWER)
