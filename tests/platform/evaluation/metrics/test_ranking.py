from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.distances import dense
from vestigo.evaluation.metrics.ranking import (
    MOST_CAMERAS,
    PROTOCOLS,
    SCORED,
    ImageSet,
    QueryScores,
    score_camera_pairs,
    score_queries,
)
from vestigo.ranking.distance import distance_chunks


def naive(distances: np.ndarray, query: list[Any], gallery: list[Any], protocol: str, ap_kind: str) -> dict[str, Any]:
    """Loop over queries and ranks; an image is (pid, camid, id). Shares no code with the package."""
    aps, inps, firsts, excluded = [], [], [], Counter()
    for q, (pid, camid, identifier) in enumerate(query):
        if pid in (-1, 0):
            excluded["query is junk" if pid == -1 else "query is a distractor"] += 1
            continue
        hits, rank, total = [], 0, 0
        reasons = set()
        for _, g in sorted((distance, g) for g, distance in enumerate(distances[q])):
            other_pid, other_camid, other_id = gallery[g]
            if other_pid == -1:
                continue
            if other_pid == pid:
                reasons.add("here")
            if protocol == "cross-camera" and other_pid == pid and other_camid == camid:
                continue
            if protocol == "same-camera" and other_camid != camid:
                continue
            if other_pid == pid:
                reasons.add("camera")
            if other_id == identifier:
                continue
            rank += 1
            if other_pid == pid:
                total += 1
                hits.append(rank)
        if not hits:
            if "here" not in reasons:
                excluded["identity not in gallery"] += 1
            elif "camera" not in reasons:
                kind = "same" if protocol == "cross-camera" else "other"
                excluded[f"only {kind}-camera matches"] += 1
            else:
                excluded["only the query image itself"] += 1
            continue
        ap = 0.0
        for match, hit in enumerate(hits, start=1):
            precision = match / hit
            if ap_kind == "trapezoid":
                before = 1.0 if hit == 1 else (match - 1) / (hit - 1)
                precision = (precision + before) / 2
            ap += precision / total
        aps.append(ap)
        inps.append(total / hits[-1])
        firsts.append(hits[0])
    n = len(aps)
    return {
        "mAP": 100 * sum(aps) / n if n else None,
        "mINP": 100 * sum(inps) / n if n else None,
        "cmc": {r: 100 * sum(first <= r for first in firsts) / n if n else None for r in (1, 5, 10)},
        "excluded": dict(excluded),
    }


def image_set(images: list[tuple[int, int, int]]) -> ImageSet:
    pids, camids, ids = (np.array(column, dtype=np.int64) for column in zip(*images, strict=True))
    return ImageSet(pids=pids, camids=camids, ids=ids)


def check(distances: np.ndarray, query: list[Any], gallery: list[Any], protocol: str, ap: str) -> None:
    scores = score_queries(distances, image_set(query), image_set(gallery), protocol=protocol, ap=ap)
    summary, expected = scores.summary(), naive(distances, query, gallery, protocol, ap)
    assert summary.queries == len(query)
    assert summary.excluded == expected["excluded"]
    for number, reference in (
        (summary.mAP, expected["mAP"]),
        (summary.mINP, expected["mINP"]),
        *((summary.cmc[rank], expected["cmc"][rank]) for rank in (1, 5, 10)),
    ):
        assert number == (None if reference is None else pytest.approx(reference, abs=1e-6))


@pytest.mark.parametrize("ap", ["standard", "trapezoid"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_naive_loop(seed: int, protocol: str, ap: str) -> None:
    """Ties (few distinct distances), junk, distractors, same-camera matches, absent identities, the image itself."""
    rng = np.random.default_rng(seed)

    def images(count: int) -> list[tuple[int, int, int]]:
        return [tuple(row) for row in rng.integers([-1, 0, 0], [9, 3, 40], (count, 3)).tolist()]

    check(rng.integers(0, 8, (40, 90)) / 8, images(40), images(90), protocol, ap)


@pytest.mark.parametrize("ap", ["standard", "trapezoid"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pairs_of_cameras_are_scored_as_galleries_of_their_own(protocol: str, ap: str) -> None:
    rng = np.random.default_rng(11)
    query, gallery = (
        [tuple(row) for row in rng.integers([-1, 0, 0], [9, 3, 40], (count, 3)).tolist()] for count in (60, 150)
    )
    distances = rng.integers(0, 8, (60, 150)) / 8
    sides = image_set(query), image_set(gallery)
    scores = score_queries(distances, *sides, protocol=protocol, ap=ap)
    found = score_camera_pairs(scores, sides[0].camids, sides[1].camids)
    expected = {}
    for own in range(3):
        for other in range(3):
            rows, columns = np.flatnonzero(sides[0].camids == own), np.flatnonzero(sides[1].camids == other)
            part = distances[np.ix_(rows, columns)]
            alone = naive(part, [query[row] for row in rows], [gallery[at] for at in columns], protocol, ap)
            if alone["mAP"] is not None:
                count = len(rows) - sum(alone["excluded"].values())
                expected[own, other] = (count, pytest.approx(alone["mAP"]), pytest.approx(alone["cmc"][1]))
    assert len(expected) >= 3
    assert {pair: (each.queries, each.mAP, each.rank1) for pair, each in found.items()} == expected


def test_galleries_of_very_many_cameras_have_no_pairs() -> None:
    rng = np.random.default_rng(12)
    gallery = image_set([(int(rng.integers(1, 9)), camera, camera) for camera in range(MOST_CAMERAS + 1)])
    query = image_set([(pid, 0, -1) for pid in range(1, 9)])
    distances = rng.random((8, MOST_CAMERAS + 1))
    scores = score_queries(distances, query, gallery)
    assert scores.ap_by_camera.shape == scores.first_by_camera.shape == (8, 0)
    assert score_camera_pairs(scores, query.camids, gallery.camids) == {}
    fewer = score_queries(distances[:, 1:], query, gallery[np.arange(1, MOST_CAMERAS + 1)])
    assert fewer.ap_by_camera.shape == (8, MOST_CAMERAS)


image = st.tuples(st.integers(-1, 3), st.integers(0, 2), st.integers(0, 6))


@given(data=st.data(), protocol=st.sampled_from(PROTOCOLS), ap=st.sampled_from(["standard", "trapezoid"]))
@settings(max_examples=150, deadline=None)
def test_scores_equal_naive_loop_on_random_input(data: st.DataObject, protocol: str, ap: str) -> None:
    query = data.draw(st.lists(image, min_size=1, max_size=6))
    gallery = data.draw(st.lists(image, min_size=1, max_size=12))
    row = st.lists(st.integers(0, 3), min_size=len(gallery), max_size=len(gallery))
    distances = np.array(data.draw(st.lists(row, min_size=len(query), max_size=len(query))), dtype=float)
    check(distances, query, gallery, protocol, ap)


def test_scores_equal_hand_computed_case() -> None:
    """Three queries over six images: same-camera removal, a distractor above a match, a query without a match."""
    gallery = image_set([(1, 0, 0), (1, 1, 1), (0, 1, 2), (2, 1, 3), (1, 2, 4), (2, 0, 5)])
    query = image_set([(1, 0, 10), (2, 0, 11), (3, 0, 12)])
    distances = np.array(
        [
            # The same-camera match at 0.0 goes; then match, distractor, other, match: 1/1, 2/4.
            [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
            # The same-camera match (last) goes; distractor, other, match: 1/3.
            [0.2, 0.5, 0.1, 0.3, 0.6, 0.0],
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        ]
    )
    standard = score_queries(distances, query, gallery)
    assert standard.first.tolist() == [1, 3, 0]
    assert standard.ap[:2].tolist() == pytest.approx([(1 + 2 / 4) / 2, 1 / 3])
    assert standard.inp[:2].tolist() == pytest.approx([2 / 4, 1 / 3])
    assert math.isnan(standard.ap[2])
    summary = standard.summary()
    assert summary.mAP == pytest.approx(100 * (3 / 4 + 1 / 3) / 2)
    assert summary.cmc == {1: 50.0, 5: 100.0, 10: 100.0}
    assert summary.excluded == {"identity not in gallery": 1}
    # Trapezoid: query 1 (1 + 1)/2 and (2/4 + 1/3)/2, query 2 (1/3 + 0/2)/2.
    trapezoid = score_queries(distances, query, gallery, ap="trapezoid")
    assert trapezoid.ap[:2].tolist() == pytest.approx([(1 + 5 / 12) / 2, 1 / 6])


def test_single_camera_dataset_excludes_all_queries() -> None:
    images = image_set([(1, 0, 0), (1, 0, 1), (2, 0, 2)])
    distances = np.zeros((3, 3))
    summary = score_queries(distances, images, images).summary()
    assert summary.mAP is None
    assert summary.mINP is None
    assert summary.cmc == {1: None, 5: None, 10: None}
    assert summary.excluded == {"only same-camera matches": 3}
    same = score_queries(distances, images, images, protocol="same-camera").summary()
    assert same.excluded == {"only the query image itself": 1}
    assert same.mAP is not None


@pytest.mark.parametrize("seed", range(3))
def test_metrics_do_not_depend_on_splitting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    query = image_set([(int(p), int(c), -1) for p, c in rng.integers(0, [12, 3], (50, 2))])
    gallery = image_set([(int(p), int(c), 0) for p, c in rng.integers(0, [12, 3], (200, 2))])
    distances = rng.random((50, 200)).round(2)
    whole = score_queries(distances, query, gallery).summary()
    rows = rng.permutation(50)
    parts = [score_queries(distances[part], query[part], gallery) for part in np.array_split(rows, 7)]
    assert QueryScores.merge(parts).summary() == whole
    nested = QueryScores.merge([QueryScores.merge(parts[3:]), QueryScores.merge([]), *parts[:3]])
    assert nested.summary() == whole


def test_summary_without_queries_is_none() -> None:
    summary = QueryScores.merge([]).summary()
    assert summary.queries == 0
    assert summary.mAP is None


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_equal_naive_loop(metric: str) -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(11, 5)).astype(np.float32)
    gallery[3] = 0
    gallery[4] = query[2]
    found = dense(distance_chunks(query, gallery, metric=metric, chunk=3))
    for q, left in enumerate(query.astype(float)):
        for g, right in enumerate(gallery.astype(float)):
            if metric == "euclidean":
                expected = sum((a - b) ** 2 for a, b in zip(left, right, strict=True))
            else:
                norms = math.sqrt(sum(left**2)) * math.sqrt(sum(right**2))
                expected = 1 - (sum(left * right) / norms if norms else 0.0)
            assert found[q, g] == pytest.approx(expected, abs=1e-9)
    assert found[2, 4] == 0


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_equal_embeddings_tie_in_any_column_and_chunk(metric: str, chunk: int) -> None:
    rng = np.random.default_rng(1)
    distinct = rng.normal(size=(9, 130)).astype(np.float32)
    which = rng.integers(0, 9, 501)
    query, gallery = rng.normal(size=(64, 130)).astype(np.float32), distinct[which]
    distances = dense(distance_chunks(query, gallery, metric=metric, chunk=chunk))
    for row in distances:
        assert len(set(row)) == 9


def test_ranking_does_not_depend_on_chunks() -> None:
    rng = np.random.default_rng(2)
    query = image_set([(int(p), int(c), -1) for p, c in rng.integers(1, [9, 4], (30, 2))])
    gallery = image_set([(int(p), int(c), 0) for p, c in rng.integers(0, [9, 4], (80, 2))])
    features = rng.normal(size=(110, 16)).astype(np.float32)
    answers = []
    for size in (1, 11, 30, 1000):
        chunks = distance_chunks(features[:30], features[30:], chunk=size)
        starts = range(0, 30, size)
        parts = [score_queries(part, query[at : at + size], gallery) for at, part in zip(starts, chunks, strict=True)]
        answers.append(QueryScores.merge(parts))
    assert all((answer.status == SCORED).sum() > 20 for answer in answers)
    assert len({repr(answer.summary()) for answer in answers}) == 1
