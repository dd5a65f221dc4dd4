from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from vestigo.evaluation.metrics.bootstrap import compare_means
from vestigo.evaluation.metrics.ranking import PROTOCOLS, SCORED, ImageSet, Protocol, score_queries
from vestigo.evaluation.metrics.truncated import (
    FALSE_MATCH,
    NO_PAIRS,
    NOT_COMPARED,
    TRUE_MATCH,
    UNKNOWN,
    UNKNOWN_PID,
    UNLABELLED,
    TruncatedRows,
    TruncatedScores,
    mean_interval,
    row_relations,
    score_camera_pairs,
    score_truncated,
)

CAMERAS = 3


class People:
    """Gallery images at random; some of them are the queries. Identity -1 is unknown."""

    def __init__(self, seed: int, gallery: int = 40, queries: int = 12) -> None:
        rng = np.random.default_rng(seed)
        self.pids = rng.integers(-1, 6, gallery)
        self.camids = rng.integers(0, CAMERAS, gallery)
        self.query_rows = rng.permutation(gallery)[:queries]
        self.distances = rng.random((queries, gallery)).round(1)

    def sets(self) -> tuple[ImageSet, ImageSet]:
        every = ImageSet(pids=self.pids, camids=self.camids, ids=np.arange(len(self.pids)))
        return every[self.query_rows], every

    def kept(self, depth: int, queries: Sequence[int] | None = None) -> TruncatedRows:
        """As a ranking keeps them: its own crop left out, the nearest `depth`."""
        chosen = range(len(self.query_rows)) if queries is None else queries
        rows, starts = [], [0]
        matches: list[tuple[int, int, int]] = []
        for number, query in enumerate(chosen):
            own = self.query_rows[query]
            order = [g for g in np.argsort(self.distances[query], kind="stable") if g != own][:depth]
            rows += order
            starts.append(len(rows))
            same = [g for g in range(len(self.pids)) if self.pids[g] == self.pids[own] >= 0 and g != own]
            matches += [(number, c, n) for c, n in Counter(self.camids[same].tolist()).items()]
        query_rows = self.query_rows[list(chosen)]
        columns = np.array(matches, np.int64).reshape(-1, 3)
        return TruncatedRows(
            pids=self.pids[query_rows],
            camids=self.camids[query_rows],
            own=np.where(self.pids[query_rows] >= 0, 1, 0),
            starts=np.array(starts),
            row_pids=self.pids[rows],
            row_camids=self.camids[rows],
            match_query=columns[:, 0],
            match_camid=columns[:, 1],
            match_count=columns[:, 2],
        )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(8))
def test_complete_ranking_scores_equal_whole_gallery(seed: int, protocol: Protocol) -> None:
    people = People(seed)
    kept = score_truncated(people.kept(depth=99), protocol)
    whole = score_queries(people.distances, *people.sets(), protocol=protocol)
    np.testing.assert_array_equal(kept.status, whole.status)
    np.testing.assert_allclose(kept.ap, whole.ap, rtol=1e-12)
    np.testing.assert_array_equal(kept.first, whole.first)
    assert kept.missed == 0
    summary = whole.summary(ranks=(1, 5))
    if kept.scored.any():
        assert 100 * np.nanmean(kept.ap) == pytest.approx(summary.mAP)
        assert 100 * kept.cmc(9)[[0, 4]] == pytest.approx([summary.cmc[1], summary.cmc[5]])
    assert kept.excluded == summary.excluded


def naive(people: People, query: int, depth: int, protocol: Protocol, camera: int | None = None) -> tuple | None:
    """Average precision, first match, found and all matches of one query, on one gallery camera where given."""
    own = people.query_rows[query]
    pid, camid = people.pids[own], people.camids[own]

    def admitted(g: int) -> bool:
        same_camera = people.camids[g] == camid
        looked_at = {"cross-camera": not same_camera, "same-camera": same_camera, "all": True}[protocol]
        return g != own and looked_at and camera in (None, people.camids[g])

    matches = sum(people.pids[g] == pid and admitted(g) for g in range(len(people.pids)))
    if pid <= 0 or not matches:
        return None
    order = [g for g in np.argsort(people.distances[query], kind="stable") if g != own][:depth]
    rank, hits, precision, first = 0, 0, 0.0, 0
    for g in order:
        if people.pids[g] == -1 or camera not in (None, people.camids[g]):
            continue
        if people.pids[g] == pid and not admitted(g):
            continue
        if protocol == "same-camera" and people.camids[g] != camid:
            continue
        rank += 1
        if people.pids[g] == pid:
            hits += 1
            precision += hits / rank
            first = first or rank
    return precision / matches, first, hits, matches


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("depth", [1, 5, 20])
def test_matches_beyond_depth_are_not_retrieved(depth: int, protocol: Protocol) -> None:
    for seed in range(5):
        people = People(seed)
        scores = score_truncated(people.kept(depth), protocol)
        whole = score_queries(people.distances, *people.sets(), protocol=protocol)
        for query in range(len(people.query_rows)):
            expected = naive(people, query, depth, protocol)
            assert (scores.status[query] == SCORED) == (expected is not None)
            if expected is not None:
                ap, *counts = expected
                assert scores.ap[query] == pytest.approx(ap)
                assert [scores.first[query], scores.retrieved[query], scores.matches[query]] == counts
                assert scores.ap[query] <= whole.ap[query] + 1e-12


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_camera_pairs_equal_loop(protocol: Protocol) -> None:
    people = People(3, gallery=80, queries=30)
    table = score_camera_pairs(people.kept(depth=25), protocol, CAMERAS)
    ap, first, queries = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))
    for query, own in enumerate(people.query_rows):
        for camera in range(CAMERAS):
            expected_pair = naive(people, query, 25, protocol, camera)
            if expected_pair is not None:
                ap[people.camids[own], camera] += expected_pair[0]
                first[people.camids[own], camera] += expected_pair[1] == 1
                queries[people.camids[own], camera] += 1
    np.testing.assert_array_equal(table.queries, queries)
    np.testing.assert_array_equal(table.first, first)
    np.testing.assert_allclose(table.ap, ap)


def test_merged_scores_equal_whole() -> None:
    people = People(1)
    whole = score_truncated(people.kept(9), "cross-camera")
    parts = [people.kept(9, queries) for queries in (range(5), range(5, 12))]
    joined = TruncatedScores.merge(score_truncated(part, "cross-camera") for part in parts)
    np.testing.assert_array_equal(joined.ap, whole.ap)
    np.testing.assert_array_equal(joined.retrieved, whole.retrieved)
    pairs = NO_PAIRS
    for cameras, part in zip((CAMERAS, CAMERAS + 1), parts, strict=True):
        pairs += score_camera_pairs(part, "cross-camera", cameras)
    expected = score_camera_pairs(people.kept(9), "cross-camera", CAMERAS)
    np.testing.assert_array_equal(pairs.queries[:3, :3], expected.queries)
    np.testing.assert_allclose(pairs.ap[:3, :3], expected.ap)
    assert pairs.queries.shape == (4, 4)
    assert not pairs.queries[3].any()


def test_row_relations_follow_protocol() -> None:
    ones = np.array([1])
    rows = TruncatedRows(
        pids=np.array([1, UNKNOWN_PID]),
        camids=np.array([0, 0]),
        own=np.zeros(2, np.int64),
        starts=np.array([0, 5, 6]),
        row_pids=np.array([1, 1, 2, 0, UNKNOWN_PID, 1]),
        row_camids=np.array([0, 1, 0, 1, 1, 1]),
        match_query=np.array([0]),
        match_camid=ones,
        match_count=ones,
    )
    assert row_relations(rows, "cross-camera").tolist() == [
        NOT_COMPARED,
        TRUE_MATCH,
        FALSE_MATCH,
        FALSE_MATCH,
        UNLABELLED,
        UNLABELLED,
    ]
    assert row_relations(rows, "same-camera").tolist() == [
        TRUE_MATCH,
        NOT_COMPARED,
        FALSE_MATCH,
        NOT_COMPARED,
        UNLABELLED,
        UNLABELLED,
    ]
    assert row_relations(rows, "all").tolist() == [
        TRUE_MATCH,
        TRUE_MATCH,
        FALSE_MATCH,
        FALSE_MATCH,
        UNLABELLED,
        UNLABELLED,
    ]
    scores = score_truncated(rows, "cross-camera")
    assert scores.status.tolist() == [SCORED, UNKNOWN]
    assert scores.excluded == {"identity of the query unknown": 1}


def test_empty_ranking_has_no_scores() -> None:
    scores = TruncatedScores.merge([])
    assert (len(scores.ap), scores.missed, scores.excluded) == (0, 0, {})
    assert np.isnan(scores.cmc(3)).all()


def test_mean_interval_is_gain_over_zero() -> None:
    rng = np.random.default_rng(0)
    values, pids = rng.random(60), rng.integers(0, 20, 60)
    interval, expected = mean_interval(values, pids), compare_means(np.zeros(60), values, pids)
    assert (interval.difference, interval.low, interval.high) == (expected.difference, expected.low, expected.high)
    assert interval.low < 100 * values.mean() < interval.high
