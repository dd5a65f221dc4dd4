"""The filter between evaluation_distances and ranking, against loops over pairs."""

from __future__ import annotations

import numpy as np
import pytest

from vestigo.evaluation.filter import FilterEvaluator
from vestigo.evaluation.images import ImageFeatures
from vestigo.evaluation.metrics.ranking import ImageSet
from vestigo.evaluation.ranking import EvaluationOptions, rank_and_score
from vestigo.ranking.distance import distance_chunks
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures
from vestigo_models.schemas.attributes import AttributeSchema

SCHEMA = AttributeSchema.from_dict(
    {
        "name": "small",
        "attributes": [
            {"name": "hat", "values": ["no", "yes"]},
            {"name": "colour", "values": ["red", "blue", "green"]},
            {"name": "age", "values": ["young", "adult"]},
        ],
    }
)
GROUPS = [slice(0, 2), slice(2, 5), slice(5, 7)]
LEAST = 50


def side(rng: np.random.Generator, count: int) -> ImageFeatures:
    vectors = rng.normal(size=(count, 2, 6))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    visible = rng.random((count, 1)) < 0.8
    vectors[:, 1:] *= visible[..., None]
    groups = [rng.dirichlet(np.full(size, 0.5), count) for size in (2, 3, 2)]
    return ImageFeatures(
        images=ImageSet(pids=rng.integers(1, 6, count), camids=rng.integers(0, 3, count)),
        features=CropFeatures(
            descriptors=Descriptors(vectors=vectors.reshape(count, 12).astype(np.float32), visible=visible, always=1),
            probabilities=np.concatenate(groups, axis=1).astype(np.float32),
            areas=np.empty((count, 0), dtype=np.float32),
        ),
        labels=np.full((count, 3), -1),
    )


def pair(
    query: ImageFeatures, row: int, gallery: ImageFeatures, column: int, threshold: float
) -> tuple[float, int, float]:
    """Distance of a pair, and how many attributes conflict with which confidence."""
    q, g = query.features.descriptors, gallery.features.descriptors
    shared = 1 + int(q.visible[row, 0] and g.visible[column, 0])
    distance = 1 - float(q.vectors[row].astype(float) @ g.vectors[column].astype(float)) / shared
    count, penalty = 0, 0.0
    for group in GROUPS:
        ours, theirs = query.features.probabilities[row, group], gallery.features.probabilities[column, group]
        sure = min(ours.max(), theirs.max()) >= np.float32(threshold)
        if sure and ours.argmax() != theirs.argmax():
            count, penalty = count + 1, penalty + float(ours.max()) + float(theirs.max())
    return round(distance, 10), count, penalty


def naive_ap(ranked: list[int], query: ImageFeatures, row: int, gallery: ImageFeatures) -> float:
    pid, cam = query.images.pids[row], query.images.camids[row]
    ranked = [c for c in ranked if (gallery.images.pids[c], gallery.images.camids[c]) != (pid, cam)]
    hits = [n for n, c in enumerate(ranked, start=1) if gallery.images.pids[c] == pid]
    return float(np.mean([n / rank for n, rank in enumerate(hits, start=1)]))


@pytest.mark.parametrize(("mode", "threshold"), [("fixed", 0.5), ("strict", 0.7), ("soft", 0.6), ("fixed", 0.05)])
def test_scores_equal_naive_loop(mode: str, threshold: float) -> None:
    rng = np.random.default_rng(7)
    query, gallery = side(rng, 23), side(rng, 90)
    choice = FilterChoice(mode=mode, threshold=threshold, weight=0.3 if mode == "soft" else 0.0)  # type: ignore[arg-type]
    run = FilterEvaluator(choice, SCHEMA, query, gallery)
    sides = query.features.descriptors, gallery.features.descriptors
    chunks = [next(distance_chunks(sides[0][rows], sides[1])) for rows in (slice(9), slice(9, 10), slice(10, None))]
    scores, nearest_images = rank_and_score(chunks, query.images, gallery.images, EvaluationOptions(), filter=run)
    effect = run.result()

    compared = kept_count = matches = lost = 0
    aps, plain = [], []
    for row in range(23):
        facts = [pair(query, row, gallery, column, threshold) for column in range(90)]
        by_distance = sorted(range(90), key=lambda c, facts=facts: (facts[c][0], c))
        kept = {c for c in range(90) if facts[c][1] == 0}
        if mode == "soft":
            kept = set(range(90))
            ranked = sorted(range(90), key=lambda c, facts=facts: (facts[c][0] + 0.3 * facts[c][2], c))
        else:
            if len(kept) < LEAST:
                kept = set(sorted(range(90), key=lambda c, facts=facts: (facts[c][1], facts[c][2], c))[:LEAST])
            behind = sorted(set(range(90)) - kept, key=lambda c, facts=facts: (facts[c][1], c))
            ranked = [c for c in by_distance if c in kept] + behind
        aps.append(naive_ap(ranked, query, row, gallery))
        plain.append(naive_ap(by_distance, query, row, gallery))
        for c in range(90):
            same = gallery.images.pids[c] == query.images.pids[row]
            if same and gallery.images.camids[c] == query.images.camids[row]:
                continue
            compared, kept_count = compared + 1, kept_count + (c in kept)
            matches, lost = matches + same, lost + (same and c not in kept)
        nearest = [
            c
            for c in ranked
            if (gallery.images.pids[c], gallery.images.camids[c]) != (query.images.pids[row], query.images.camids[row])
        ]
        assert nearest_images[row].tolist() == nearest[:10]
    assert scores.ap == pytest.approx(aps)
    assert effect.cost.with_filter.mAP == pytest.approx(100 * np.mean(aps))
    assert effect.cost.without.mAP == pytest.approx(100 * np.mean(plain))
    assert effect.cost.kept_fraction == pytest.approx(kept_count / compared)
    assert effect.cost.true_matches_lost == pytest.approx(lost / matches)
    assert (effect.speed_up is None) == (mode == "soft")
    assert mode == "soft" or lost > 0
    assert effect.speed_up is None or effect.speed_up > 0
