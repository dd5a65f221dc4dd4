from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.training.losses import (
    CentreLoss,
    class_weights,
    contrastive_loss,
    euclidean_distances,
    identity_loss,
    triplet_loss,
)


def naive_identity_loss(logits: np.ndarray, pids: np.ndarray, smoothing: float) -> float:
    total = 0.0
    for row, pid in zip(logits, pids, strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for j, value in enumerate(row):
            target = smoothing / len(row) + (1 - smoothing) * (j == pid)
            total -= target * (value - log_sum)
    return total / len(logits)


def naive_triplet(features: np.ndarray, pids: np.ndarray, margin: float) -> tuple[float, float]:
    losses, ordered = [], []
    for i in range(len(features)):
        positive, negative = 0.0, math.inf
        for j in range(len(features)):
            distance = math.sqrt(sum((a - b) ** 2 for a, b in zip(features[i], features[j], strict=True)))
            if pids[i] == pids[j]:
                positive = max(positive, distance)
            else:
                negative = min(negative, distance)
        losses.append(max(0.0, positive - negative + margin))
        ordered.append(negative > positive)
    return sum(losses) / len(losses), sum(ordered) / len(ordered)


def naive_contrastive(features: np.ndarray, pids: np.ndarray, anchors: range, temperature: float) -> float:
    units = [row / math.sqrt(sum(value * value for value in row)) for row in features.astype(np.float64)]
    losses = []
    for i in anchors:
        others = [j for j in range(len(units)) if j != i]
        scores = {j: sum(units[i] * units[j]) / temperature for j in others}
        log_sum = math.log(sum(math.exp(score) for score in scores.values()))
        positives = [j for j in others if pids[j] == pids[i]]
        losses.append(-sum(scores[j] - log_sum for j in positives) / len(positives))
    return sum(losses) / len(losses)


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


PIDS = np.repeat(np.arange(4), 3)


def test_identity_loss_equals_naive_loop(features: np.ndarray) -> None:
    pids = np.arange(12) % 5
    loss = identity_loss(torch.from_numpy(features), torch.from_numpy(pids), smoothing=0.1)
    assert loss.item() == pytest.approx(naive_identity_loss(features, pids, 0.1), abs=1e-5)


@pytest.mark.parametrize(("first", "count"), [(0, 12), (3, 6), (6, 6)])
def test_contrastive_loss_equals_naive_loop(features: np.ndarray, first: int, count: int) -> None:
    x, y, own = torch.from_numpy(features), torch.from_numpy(PIDS), slice(first, first + count)
    loss = contrastive_loss(x[own], y[own], x, y, first=first, temperature=0.2)
    assert loss.item() == pytest.approx(naive_contrastive(features, PIDS, range(first, first + count), 0.2), abs=1e-5)


def test_contrastive_loss_of_equal_features_has_a_finite_gradient() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    pids = torch.tensor([0, 0, 1, 1])
    contrastive_loss(x, pids, x, pids, first=0, temperature=0.1).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("margin", [0.0, 0.3, 5.0])
def test_triplet_loss_equals_naive_loop(features: np.ndarray, margin: float) -> None:
    x, y = torch.from_numpy(features), torch.from_numpy(PIDS)
    loss, ordered = triplet_loss(x, y, x, y, margin=margin)
    expected = naive_triplet(features, PIDS, margin)
    assert loss.item() == pytest.approx(expected[0], abs=1e-5)
    assert ordered.item() == pytest.approx(expected[1])


def test_triplet_losses_of_shares_average_to_that_of_the_batch(features: np.ndarray) -> None:
    x, y = torch.from_numpy(features), torch.from_numpy(PIDS)
    whole, _ = triplet_loss(x, y, x, y, margin=0.3)
    halves = [triplet_loss(x[part], y[part], x, y, margin=0.3)[0] for part in (slice(0, 6), slice(6, 12))]
    assert (halves[0] + halves[1]).item() / 2 == pytest.approx(whole.item(), abs=1e-6)


def test_equal_features_have_a_finite_gradient() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    loss, _ = triplet_loss(x, torch.tensor([0, 0, 1, 1]), x, torch.tensor([0, 0, 1, 1]), margin=0.3)
    loss.backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_distances_of_half_features_are_float32(features: np.ndarray) -> None:
    half = torch.from_numpy(features).to(torch.bfloat16)
    assert euclidean_distances(half, half).dtype == torch.float32


def test_centre_loss_and_rescaled_gradients(features: np.ndarray) -> None:
    x, y = torch.from_numpy(features), torch.from_numpy(PIDS)
    centres = CentreLoss(4, 5, generator=torch.Generator().manual_seed(1))
    before = centres.centres.detach().clone()
    loss = centres(x, y)
    expected = np.mean([((features[i] - before[PIDS[i]].numpy()) ** 2).sum() for i in range(12)])
    assert loss.item() == pytest.approx(expected, rel=1e-5)

    weight = 0.0005
    (weight * loss).backward()
    centres.rescale_gradients(weight)
    torch.optim.SGD(centres.parameters(), lr=0.5).step()
    for pid in range(4):
        pull = sum(2 * (before[pid].numpy() - features[i]) for i in np.flatnonzero(pid == PIDS)) / 12
        np.testing.assert_allclose(centres.centres[pid].detach().numpy(), before[pid].numpy() - 0.5 * pull, atol=1e-5)


def test_class_weights_balance_rare_classes() -> None:
    labels = np.zeros((8, 12), dtype=np.int64)
    labels[:2, 0] = 1
    labels[7, 0] = -1
    labels[:, 1] = -1
    even, half, whole = (class_weights(labels, MARKET_1501, balance) for balance in (0.0, 0.5, 1.0))
    assert even[:2].tolist() == [1, 1]
    assert even[2:6].tolist() == [0, 0, 0, 0]
    raw = [(5 / 7) ** -0.5, (2 / 7) ** -0.5]
    mean = raw[0] * 5 / 7 + raw[1] * 2 / 7
    assert half[:2].tolist() == pytest.approx([raw[0] / mean, raw[1] / mean])
    assert whole[0] * 5 == pytest.approx(whole[1] * 2)
    assert whole[0] * 5 + whole[1] * 2 == pytest.approx(7)
