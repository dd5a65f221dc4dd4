"""Search with parts, attributes, conditions and filters over an archive of rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.support.fake_gallery import NEWER, FakeArchive, crop, number, recorder
from vestigo.retrieval.bulk import crop_queries, rank_gallery, tracklet_queries
from vestigo.retrieval.gallery import Scope
from vestigo.retrieval.query import Query
from vestigo.retrieval.search import search_conditions, search_query
from vestigo.store.models.records import ModelFacts
from vestigo_models.attribute_filter.curve import FilterCurve
from vestigo_models.attribute_filter.modes import FilterConfig
from vestigo_models.attribute_filter.record import Calibration, SoftRecord, record_filter
from vestigo_models.errors import ConfigError, UsageError
from vestigo_models.inference.distance import packed
from vestigo_models.schemas.builtin import MARKET_1501 as MARKET

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cameras_without_bias")]

BLOCK, ALWAYS, PARTS = 6, 3, 5
BLOCKS = (BLOCK,) * (ALWAYS + PARTS)


def facts(calibration: dict[str, Any] | None = None) -> ModelFacts:
    return ModelFacts(always=ALWAYS, parts=PARTS, blocks=BLOCKS, attributes=MARKET, calibration=calibration)


def calibration() -> dict[str, Any]:
    taus = np.array([0.7, 0.9, 0.95, 1.01])
    losses = np.repeat([[0.3, 0.004, 0.001, 0.0]], 400, axis=0)
    curve = FilterCurve(
        thresholds=taus, miss_rates=losses, pids=np.arange(400), kept_fractions=np.array([0.02, 0.1, 0.2, 1.0])
    )
    record = Calibration(
        filter=record_filter(curve),
        soft=SoftRecord(weight=0.5, threshold=0.6, mAP=80, mAP_without=70),
        measured_on="rendered people",
    )
    return record.model_dump(mode="json")


def people(count: int = 240, seed: int = 0, **more: Any) -> FakeArchive:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        visible = rng.random(PARTS) < 0.6
        blocks = rng.normal(size=(ALWAYS + PARTS, BLOCK)) + np.arange(BLOCK) * (i % 4)
        blocks /= np.linalg.norm(blocks, axis=1, keepdims=True)
        blocks[ALWAYS:][~visible] = 0
        probabilities = [rng.dirichlet(np.full(len(attribute.values), 0.2)) for attribute in MARKET.attributes]
        looks = {
            "embedding": blocks.reshape(-1).astype(np.float32),
            "visible": int(packed(visible[None])[0]),
            "attributes": np.concatenate(probabilities).astype(np.float32).tolist(),
        }
        rows.append(crop(i, np.ones(1), dhash=int(rng.integers(-(2**63), 2**63))) | looks)
    return FakeArchive(rows, **{"facts": facts()} | more)


def equation_14(query: dict[str, Any], other: dict[str, Any]) -> float:
    """Distance of two rows, term by term."""
    total, terms = 0.0, 0
    for block in range(ALWAYS + PARTS):
        bit = 1 << max(block - ALWAYS, 0)
        if block >= ALWAYS and not query["visible"] & other["visible"] & bit:
            continue
        place = slice(block * BLOCK, block * BLOCK + BLOCK)
        total += 1 - sum(
            float(a) * float(b) for a, b in zip(query["embedding"][place], other["embedding"][place], strict=True)
        )
        terms += 1
    return total / terms


def predictions_of(row: dict[str, Any]) -> dict[str, tuple[str, float]]:
    predictions = {}
    for attribute in MARKET.attributes:
        group = row["attributes"][MARKET.slice(attribute.name)]
        predictions[attribute.name] = attribute.values[group.index(max(group))], max(group)
    return predictions


def conflicts(query: dict[str, Any], other: dict[str, Any], threshold: float) -> list[float]:
    pairs = [(predictions_of(query)[name], predictions_of(other)[name]) for name in MARKET.names]
    return [a[1] + b[1] for a, b in pairs if min(a[1], b[1]) >= threshold and a[0] != b[0]]


def test_hits_are_in_order_of_equation_14_and_tell_attributes() -> None:
    archive = people()
    query = archive.rows[7]
    result = search_query(archive, Query(crops=(query["crop_id"],)), top=239)
    hits = result.hits
    assert {name: (result.attributes[name], result.confidences[name]) for name in MARKET.names} == predictions_of(query)
    expected = sorted((equation_14(query, row), row["crop_id"]) for row in archive.rows if row is not query)
    assert [hit.crop for hit in hits] == [name for _, name in expected]
    assert [hit.distance for hit in hits] == pytest.approx([distance for distance, _ in expected], abs=1e-6)
    for hit in hits[:20]:
        row = predictions_of(archive.rows[number(hit.crop)])
        assert hit.attributes == {name: value for name, (value, _) in row.items()}
        assert hit.confidences == {name: confidence for name, (_, confidence) in row.items()}


def test_views_of_stored_crops_are_fused_block_by_block() -> None:
    archive = people()
    ids = tuple(row["crop_id"] for row in archive.rows[:3])
    hits = search_query(archive, Query(crops=ids), top=5).hits
    mean = np.sum([row["embedding"].astype(float) for row in archive.rows[:3]], axis=0).reshape(-1, BLOCK)
    lengths = np.linalg.norm(mean, axis=1, keepdims=True)
    fused = {"embedding": (mean / np.maximum(lengths, 1e-9)).reshape(-1), "visible": 0}
    for row in archive.rows[:3]:
        fused["visible"] |= row["visible"]
    expected = sorted((equation_14(fused, row), row["crop_id"]) for row in archive.rows[3:])
    assert [hit.crop for hit in hits] == [name for _, name in expected[:5]]


@pytest.mark.parametrize("rerank", [False, True])
def test_filter_keeps_order_of_kept_crops(rerank: bool) -> None:
    archive = people()
    query = archive.rows[3]
    requests = Query(crops=(query["crop_id"],))
    result = search_query(archive, requests, top=239, filter_config=FilterConfig(filter="0.999"), rerank=rerank)
    counted = [(len(conflicts(query, row, np.float32(0.999))), row["crop_id"]) for row in archive.rows]
    stays = {name for count, name in counted if not count}
    assert 50 < len(stays) < 200
    assert result.kept_fraction == pytest.approx(len(stays) / 240)
    assert {hit.crop for hit in result.hits} == stays - {query["crop_id"]}
    if not rerank:
        plain = [hit for hit in search_query(archive, requests, top=239).hits if hit.crop in stays]
        assert [(hit.crop, hit.distance) for hit in plain] == [(hit.crop, hit.distance) for hit in result.hits]
    assert result.filter is not None
    assert result.filter.expected is None
    assert "not measured" in result.filter.describe()


def test_a_filter_never_leaves_fewer_than_fifty() -> None:
    archive = people()
    result = search_query(
        archive, Query(crops=(archive.rows[3]["crop_id"],)), top=239, filter_config=FilterConfig(filter="strict")
    )
    assert len(result.hits) == 49
    assert result.kept_fraction == pytest.approx(50 / 240)
    assert result.compared == 240


def test_a_filter_reads_the_attributes_first_and_few_descriptors() -> None:
    archive = people(400)
    steps: list[tuple[str, int]] = []
    query = Query(crops=(archive.rows[3]["crop_id"],))
    result = search_query(archive, query, top=1, filter_config=FilterConfig(filter="strict"), progress=recorder(steps))
    assert [stage for stage, rows in steps if rows == 400] == ["index", *["attributes"] * 3, "crops"]
    assert result.read == round(result.kept_fraction * 400) == 50
    assert search_query(archive, query, top=1).read == result.compared == 400


def test_auto_reports_expected_miss_rate() -> None:
    archive = people(facts=facts(calibration()))
    requests = Query(crops=(archive.rows[3]["crop_id"],))
    result = search_query(archive, requests, filter_config=FilterConfig(filter="auto", max_lost=0.01))
    assert result.filter is not None
    assert result.filter.threshold == 0.9
    assert result.filter.expected is not None
    assert (result.filter.expected.kept_fraction, result.filter.expected.miss_rate) == (0.1, 0.004)
    assert "rendered people" in result.filter.describe()
    assert result.filter.describe().endswith("not guaranteed here.")
    # More than the calibration can promise: off, and it says why.
    result = search_query(archive, requests, filter_config=FilterConfig(filter="auto", max_lost=0.001))
    assert result.kept_fraction == 1.0
    assert result.filter is not None
    assert "at least 1000 are needed" in result.filter.describe()


def test_soft_adds_to_the_distance() -> None:
    archive = people(facts=facts(calibration()))
    query = archive.rows[3]
    result = search_query(archive, Query(crops=(query["crop_id"],)), top=239, filter_config=FilterConfig(filter="soft"))
    expected = {
        row["crop_id"]: equation_14(query, row) + 0.5 * sum(conflicts(query, row, np.float32(0.6)))
        for row in archive.rows[:3] + archive.rows[4:]
    }
    assert [hit.crop for hit in result.hits] == sorted(expected, key=lambda name: (expected[name], name))
    assert [hit.distance for hit in result.hits] == pytest.approx(sorted(expected.values()), abs=1e-5)
    assert result.kept_fraction == 1.0
    with pytest.raises(UsageError, match="soft adds to the distances that --rerank replaces"):
        search_query(archive, Query(crops=(query["crop_id"],)), filter_config=FilterConfig(filter="soft"), rerank=True)


def test_conditions_narrow_a_search_like_cameras() -> None:
    archive = people()
    query = archive.rows[3]
    scope = Scope(cameras=("cam1", "cam2"), where="gender=female,hat=no")
    result = search_query(archive, Query(crops=(query["crop_id"],)), top=99, scope=scope)
    inside = {
        row["crop_id"]
        for row in archive.rows
        if row["camera"] != "cam0"
        and predictions_of(row)["gender"][0] == "female"
        and predictions_of(row)["hat"][0] == "no"
    }
    assert {hit.crop for hit in result.hits} == inside - {query["crop_id"]}
    assert result.compared == len(inside)
    filtered = search_query(
        archive, Query(crops=(query["crop_id"],)), top=99, scope=scope, filter_config=FilterConfig(filter="strict")
    )
    assert filtered.kept_fraction == pytest.approx(min(50, len(inside)) / len(inside))


def test_conditions_alone_rank_by_their_probability() -> None:
    archive = people()
    result = search_conditions(archive, "gender=female, backpack=yes", top=30, scope=Scope(cameras=("cam0",)))

    def likely(row: dict[str, Any]) -> float:
        return float(row["attributes"][1]) * float(row["attributes"][MARKET.slice("backpack").start + 1])

    expected = sorted((row for row in archive.rows if row["camera"] == "cam0"), key=likely, reverse=True)
    assert [hit.crop for hit in result.hits] == [row["crop_id"] for row in expected[:30]]
    assert [hit.distance for hit in result.hits] == pytest.approx([1 - likely(row) for row in expected[:30]], abs=1e-9)
    assert (result.compared, result.model, result.kept_fraction) == (80, NEWER, 1.0)


def test_conditions_alone_show_near_identical_frames_once() -> None:
    archive = people(60)
    for row in archive.rows[:40]:
        row |= {"tracklet": "one", "dhash": 0, "attributes": archive.rows[0]["attributes"]}
    value = predictions_of(archive.rows[0])["gender"][0]
    result = search_conditions(archive, f"gender={value}", top=15)
    assert sum(hit.track == "one" for hit in result.hits) == 1
    assert len(result.hits) == 15


def test_models_without_attributes_refuse_conditions_and_filters() -> None:
    archive = people(facts=ModelFacts(always=ALWAYS, parts=PARTS, blocks=BLOCKS))
    requests = Query(crops=(archive.rows[3]["crop_id"],))
    refusal = r"model newer \(b{12}\) of the store predicts no attributes"
    with pytest.raises(UsageError, match=refusal):
        search_query(archive, requests, scope=Scope(where="gender=female"))
    for mode in ("strict", "auto", "soft"):
        with pytest.raises(UsageError, match=refusal):
            search_query(archive, requests, filter_config=FilterConfig(filter=mode))
    with pytest.raises(UsageError, match=refusal):
        search_conditions(archive, "gender=female")
    assert search_query(archive, requests).hits[0].attributes == {}


@pytest.mark.parametrize(
    ("mode", "complaint"),
    [("auto", "no calibration of its filter"), ("soft", "no calibration with a soft weight"), ("half", "give off")],
)
def test_filters_that_cannot_be(mode: str, complaint: str) -> None:
    archive = people(20)
    with pytest.raises(ConfigError, match=complaint):
        search_query(archive, Query(crops=(archive.rows[3]["crop_id"],)), filter_config=FilterConfig(filter=mode))


def test_conditions_that_no_model_knows() -> None:
    archive = people(20)
    with pytest.raises(ConfigError, match="unknown attribute 'shoes'"):
        search_conditions(archive, "shoes=red")
    with pytest.raises(ConfigError, match="gender cannot be 'both'"):
        search_query(archive, Query(crops=(archive.rows[3]["crop_id"],)), scope=Scope(where="gender=both"))


def test_bulk_ranking_behind_a_filter_equals_single_searches() -> None:
    archive = people()
    ids = [row["crop_id"] for row in archive.rows[:12]]
    config = FilterConfig(filter="0.999")
    scope = Scope(where="hat=no")
    ranked = rank_gallery(archive, crop_queries(archive, ids), "kept", top=5, scope=scope, filter_config=config)
    kept = archive.kept["kept"][2]
    fractions = []
    for query in ids:
        single = search_query(archive, Query(crops=(query,)), top=5, scope=scope, filter_config=config)
        fractions.append(single.kept_fraction)
        assert [row["crop"] for row in kept if row["query"] == query] == [hit.crop for hit in single.hits]
    assert ranked.kept_fraction == pytest.approx(math.fsum(fractions) / 12)
    assert ranked.filter.threshold == 0.999


def test_tracklets_are_fused_with_their_attributes() -> None:
    archive = people(30)
    for row in archive.rows[:4]:
        row |= {"tracklet": "walk", "camera": "cam1"}
    queries = tracklet_queries(archive, archive.models.list()[0])
    mean = np.mean([row["attributes"] for row in archive.rows[:4]], axis=0)
    assert queries.features.probabilities[0] == pytest.approx(mean, abs=1e-6)
    assert queries.own == [[row["crop_id"] for row in archive.rows[:4]]]


def test_conditions_do_not_hide_how_far_a_pass_is() -> None:
    archive = people()
    steps: list[tuple[str, int]] = []
    search_conditions(archive, "hat=no", scope=Scope(where="gender=female"), progress=recorder(steps), top=300)
    assert steps[-1] == ("attributes", 240)
