"""Equation 14 agrees with a double loop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from vestigo_models.inference.distance import Descriptors, part_visible_distance
from vestigo_models.inference.extractor import build_descriptors

RNG = np.random.default_rng(0)
PARTS, D = 5, 8


def features(count: int, seed: int, kinds: int = 3) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    always = [rng.normal(size=(count, size)).astype(np.float32) for size in (8, 8, 11)[:kinds]]
    parts = rng.normal(size=(count, PARTS, D)).astype(np.float32)
    return always, parts, rng.random((count, PARTS)) < 0.6


def describe(
    always: Sequence[np.ndarray], parts: np.ndarray | None = None, visible: np.ndarray | None = None
) -> Descriptors:
    posts = {f"always-{index}": torch.from_numpy(each) for index, each in enumerate(always)}
    if parts is None or visible is None:
        visible = np.zeros((len(always[0]), 0), dtype=bool)
    else:
        posts["part"] = torch.from_numpy(parts.reshape(len(parts), -1))
    vectors = build_descriptors(posts, torch.from_numpy(visible), range(visible.shape[1])).numpy()
    return Descriptors(vectors=vectors, visible=visible, always=len(always))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    lengths = [math.sqrt(sum(float(x) ** 2 for x in v)) for v in (a, b)]
    return dot / (lengths[0] * lengths[1])


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_distance_agrees_with_double_loop(kinds: int) -> None:
    query, gallery = features(6, 1, kinds), features(9, 2, kinds)
    query[2][0] = False
    gallery[2][3] = True
    distances = part_visible_distance(describe(*query), describe(*gallery))
    for q in range(6):
        for g in range(9):
            terms = [1 - cosine(query[0][i][q], gallery[0][i][g]) for i in range(kinds)]
            shared = [k for k in range(PARTS) if query[2][q, k] and gallery[2][g, k]]
            terms += [1 - cosine(query[1][q, k], gallery[1][g, k]) for k in shared]
            assert distances[q, g] == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_distance_is_symmetric_and_zero_to_itself() -> None:
    a, b = describe(*features(7, 3)), describe(*features(7, 4))
    np.testing.assert_allclose(part_visible_distance(a, b), part_visible_distance(b, a).T, atol=1e-6)
    np.testing.assert_allclose(np.diag(part_visible_distance(a, a)), 0, atol=1e-6)


def test_invisible_part_changes_nothing() -> None:
    always, parts, visible = features(5, 5)
    other = parts + np.where(visible[..., None], 0, RNG.normal(size=parts.shape)).astype(np.float32)
    gallery = describe(*features(4, 6))
    np.testing.assert_array_equal(
        part_visible_distance(describe(always, parts, visible), gallery),
        part_visible_distance(describe(always, other, visible), gallery),
    )


def test_always_present_terms_are_averaged_without_visible_parts() -> None:
    always, parts, visible = features(5, 7)
    hidden = describe(always, parts, np.zeros_like(visible))
    gallery = features(4, 8)
    terms = [part_visible_distance(describe([a]), describe([b])) for a, b in zip(always, gallery[0], strict=True)]
    np.testing.assert_allclose(part_visible_distance(hidden, describe(*gallery)), np.mean(terms, axis=0), atol=1e-6)


def test_chunks_give_the_same_distances() -> None:
    query, gallery = describe(*features(6, 9)), describe(*features(10, 10))
    halves = [
        Descriptors(vectors=gallery.vectors[s], visible=gallery.visible[s], always=gallery.always)
        for s in (slice(0, 3), slice(3, 10))
    ]
    np.testing.assert_allclose(
        np.concatenate([part_visible_distance(query, half) for half in halves], axis=1),
        part_visible_distance(query, gallery),
        atol=1e-6,
    )


def test_descriptors_of_two_networks_raise() -> None:
    with pytest.raises(ValueError, match="different networks"):
        part_visible_distance(describe(*features(2, 0)), describe(*features(2, 0, kinds=2)))
