"""Refitted heads equal naive sums and learn known labels."""

from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest
import torch

from tests.support.random_models import random_package
from vestigo_models.attribute_filter.record import Calibration
from vestigo_models.errors import ConfigError, DatasetError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage, PackageConfig
from vestigo_models.networks.build import build_network
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.training import head_refit
from vestigo_models.training.head_refit import (
    AttributeTargets,
    extract_pooled,
    fit_heads,
    predict_attributes,
    replace_heads,
)
from vestigo_models.training.losses import noisy_label_loss

pytestmark = pytest.mark.slow

SCHEMA = MARKET_1501
TEMPERATURES = {"gender": 0.7, "hat": 1.6, "upper_colour": 1.2}


def package(*, attributes: str = "regions", flip: bool = False) -> ModelPackage:
    """Return a model with random AWM weights and temperatures other than 1."""
    made = random_package()
    settings = made.config.model_dump() | {"flip_average": flip}
    if attributes == "global":
        settings["network"] |= {"attributes": "global", "regions": 0}
        settings["region_schema"] = None
    config = PackageConfig(**settings)
    torch.manual_seed(0)
    network = build_network(config.network, schema=SCHEMA, regions=config.regions)
    assert isinstance(network, SemanticNetwork)
    assert network.reweight is not None
    with torch.no_grad():
        network.reweight.correlate.weight.normal_()
    return ModelPackage(config, network).with_calibration(Calibration(temperatures=TEMPERATURES, measured_on="nothing"))


def crops(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (70 + index, 30, 3), dtype=np.uint8) for index in range(count)]


def random_features(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 7, 16)).astype(np.float32)


def labels(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(-1, len(a.values), count) for a in SCHEMA.attributes], axis=1)


def naive_loss(probabilities: np.ndarray, truth: np.ndarray, noise: np.ndarray) -> list[float]:
    losses = []
    for p, q, e in zip(probabilities, truth, noise, strict=True):
        total = 0.0
        for j in range(len(p)):
            noisy = sum(p[i] * (1 - e if i == j else e / (len(p) - 1)) for i in range(len(p)))
            total -= q[j] * math.log(noisy)
        losses.append(total)
    return losses


def test_noisy_label_loss_equals_naive_loop() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 9)
    truth = np.concatenate([np.eye(4), rng.dirichlet(np.ones(4), 4), np.zeros((1, 4))])
    noise = np.array([0.0, 0.05, 0.3, 0.0, 0.0, 0.1, 0.0, 0.2, 0.2])
    loss = noisy_label_loss(*(torch.from_numpy(each) for each in (np.log(probabilities), truth, noise)))
    np.testing.assert_allclose(loss.numpy(), naive_loss(probabilities, truth, noise), atol=1e-12)
    assert loss[-1] == 0


def test_noisy_label_loss_without_noise_is_cross_entropy() -> None:
    scores = torch.tensor([[0.0, -60.0]], requires_grad=True)
    wrong = torch.tensor([[0.0, 1.0]])
    (loss,) = noisy_label_loss(scores.log_softmax(1), wrong, 0.0)
    assert loss.item() == pytest.approx(60, abs=1e-4)
    loss.backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[1.0, -1.0]]))


@pytest.mark.parametrize("attributes", ["regions", "global"])
def test_pooled_features_give_predictions_of_the_extractor(attributes: str) -> None:
    base = package(attributes=attributes)
    done: list[int] = []
    read = extract_pooled(base, iter(crops(5)), batch_size=4, progress=lambda count, _: done.append(count))
    assert read.shape == (5, 7 if attributes == "regions" else 2, 16)
    assert done == [4, 5]
    np.testing.assert_allclose(
        predict_attributes(base, read), Extractor(base).extract(crops(5)).probabilities, atol=1e-5
    )


def test_pooled_features_average_mirror_images() -> None:
    plain, mirrored = package(), package(flip=True)
    both = [extract_pooled(plain, images) for images in (crops(3), [image[:, ::-1] for image in crops(3)])]
    # A crop that is enlarged and then mirrored differs by rounding from one that is mirrored and then enlarged.
    np.testing.assert_allclose(extract_pooled(mirrored, crops(3)), np.mean(both, axis=0), atol=2e-2)


def test_no_crops_give_empty_features() -> None:
    assert extract_pooled(package(), []).shape == (0, 7, 16)
    assert predict_attributes(package(), random_features(0)).shape == (0, SCHEMA.classes)


def naive_reliability(base: ModelPackage, pooled: np.ndarray, targets: AttributeTargets) -> list[float]:
    """Compute the reliability of the base on each attribute with loops."""
    reliability = []
    for name in SCHEMA.names:
        place, actual, expected = SCHEMA.slice(name), 0.0, 0.0
        for row, p in enumerate(predict_attributes(base, pooled)[:, place].astype(np.float64)):
            truth, e = targets.probabilities[row, place], float(targets.noise[row])
            if truth.max() == 1:
                noisy = [(1 - e) * p[j] + e / (len(p) - 1) * (1 - p[j]) for j in range(len(p))]
                actual -= targets.weight[row] * math.log(noisy[truth.argmax()])
                expected -= targets.weight[row] * sum(q * math.log(q) for q in noisy)
        reliability.append(max(0.01, min(1.0, expected / actual) ** 2))
    return reliability


def naive_objective(
    base: ModelPackage, fitted: ModelPackage, pooled: np.ndarray, targets: AttributeTargets, pull: float
) -> float:
    """Compute the objective of the fit with loops."""
    reliability = naive_reliability(base, pooled, targets)
    probabilities = predict_attributes(fitted, pooled).astype(np.float64)
    old, new = base.network.state_dict(), fitted.network.state_dict()
    total = 0.0
    for position, name in enumerate(SCHEMA.names):
        place = SCHEMA.slice(name)
        for row, each in enumerate(probabilities):
            truth, noise = targets.probabilities[row : row + 1, place], targets.noise[row : row + 1]
            share = 1.0 if truth.max() == 1 else reliability[position]
            total += share * targets.weight[row] * naive_loss(each[None, place], truth, noise)[0]
        tensors = [(f"heads.heads.{position}.1.{kind}", slice(None)) for kind in ("weight", "bias")]
        tensors += [(f"reweight.correlate.{kind}", place) for kind in ("weight", "bias")]
        for key, rows in tensors:
            moved = (old[key][rows].double() - new[key][rows].double()).square().sum()
            total += reliability[position] * pull / 2 * float(moved)
    return total


def mixed_targets(count: int) -> AttributeTargets:
    rng = np.random.default_rng(2)
    labelled = AttributeTargets.from_labels(labels(count), SCHEMA, noise=0.1, weight=rng.uniform(0, 2, count))
    predicted = AttributeTargets.from_predictions(predict_attributes(package(), random_features(count, 3)), weight=0.5)
    return AttributeTargets.concatenate([labelled, predicted])


def between(base: ModelPackage, fitted: ModelPackage, share: float) -> ModelPackage:
    network = copy.deepcopy(base.network)
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor += share * (fitted.network.state_dict()[key] - tensor)
    return ModelPackage(fitted.config, network)


def test_fit_minimises_naive_objective() -> None:
    base, pooled, targets = package(), np.concatenate([random_features(20), random_features(20, 3)]), mixed_targets(20)
    fitted = fit_heads(base, pooled, targets, pull=0.5, steps=500)

    def objective(other: ModelPackage) -> float:
        return naive_objective(base, other, pooled, targets, 0.5)

    below, best, above = (objective(between(base, fitted, share)) for share in (0.98, 1.0, 1.02))
    assert best < min(below, above)
    # The minimum of a parabola through the three, in steps from the middle.
    assert 0.5 * (below - above) / (below - 2 * best + above) == pytest.approx(0, abs=0.05)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        nudged = between(base, fitted, 1.0)
        for key, tensor in nudged.network.state_dict().items():
            if re.match(r"reweight\.|heads\..*\.1\.(weight|bias)", key):
                tensor += 0.01 * torch.randn(tensor.shape, generator=generator)
        assert objective(nudged) > best


def test_bad_head_is_replaced_and_good_heads_are_kept() -> None:
    base, pooled = package(), random_features(400)
    for name in SCHEMA.names:
        # Confident, so that labels have large losses.
        linear(base, name).weight.mul_(6)
    truth = np.stack(
        [predict_attributes(base, pooled)[:, SCHEMA.slice(name)].argmax(axis=1) for name in SCHEMA.names], axis=1
    )
    broken = between(base, base, 1.0)
    linear(broken, "hat").weight.neg_()
    labelled = AttributeTargets.from_labels(truth[:200], SCHEMA, noise=0.05)
    predicted = AttributeTargets.from_predictions(predict_attributes(broken, pooled[:200]))
    both = np.concatenate([pooled[:200], pooled[:200]])
    fitted = fit_heads(broken, both, labelled.with_replay(predicted), pull=20.0)
    predictions, hat = predict_attributes(fitted, pooled[200:]), SCHEMA.index("hat")
    right = [
        (predictions[:, SCHEMA.slice(name)].argmax(axis=1) == truth[200:, position]).mean()
        for position, name in enumerate(SCHEMA.names)
    ]
    before = predict_attributes(broken, pooled[200:])[:, SCHEMA.slice("hat")].argmax(axis=1) == truth[200:, hat]
    assert before.mean() < 0.5
    assert right[hat] > 0.8
    assert min(right) > 0.8


def linear(model: ModelPackage, name: str) -> torch.nn.Linear:
    assert isinstance(model.network, SemanticNetwork)
    assert model.network.heads is not None
    layer = list(model.network.heads.heads[SCHEMA.index(name)].children())[1]
    assert isinstance(layer, torch.nn.Linear)
    return layer


def test_replay_has_a_share_of_the_total_weight() -> None:
    corrected = AttributeTargets.from_labels(labels(4), SCHEMA, noise=0.1, weight=0.5)
    replayed = AttributeTargets.from_labels(labels(10, 1), SCHEMA, weight=np.arange(10, dtype=np.float32))
    both = corrected.with_replay(replayed, 0.3)
    assert len(both) == 14
    np.testing.assert_allclose(both.weight, [0.5] * 4 + [0.6 * each / 45 for each in range(10)], rtol=1e-6)
    np.testing.assert_array_equal(both.select(np.arange(4, 14)).probabilities, replayed.probabilities)
    assert len(corrected.with_replay(replayed.select(slice(0, 0)))) == 4


def test_labels_are_learnt_and_base_is_unchanged() -> None:
    base, pooled, truth = package(), random_features(30), np.abs(labels(30))
    digest, before = base.digest, base.network.state_dict()["heads.heads.0.1.weight"].clone()
    fitted = fit_heads(base, pooled, AttributeTargets.from_labels(truth, SCHEMA), pull=1e-3)
    predictions = predict_attributes(fitted, pooled)
    for position, name in enumerate(SCHEMA.names):
        np.testing.assert_array_equal(predictions[:, SCHEMA.slice(name)].argmax(axis=1), truth[:, position])
    assert fitted.digest != digest
    torch.testing.assert_close(base.network.state_dict()["heads.heads.0.1.weight"], before, rtol=0, atol=0)
    assert fit_heads(base, pooled, AttributeTargets.from_labels(truth, SCHEMA), pull=1e-3).digest == fitted.digest


def test_labels_of_a_class_count_as_often_as_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_refit, "_base_reliability", lambda *_: torch.ones(len(SCHEMA), dtype=torch.float64))
    base, labels_of_one, pooled = package(), np.full((30, len(SCHEMA)), -1), random_features(30)
    hats = np.arange(30) % 2
    labels_of_one[:, SCHEMA.index("hat")] = hats
    factors = np.ones(SCHEMA.classes, np.float32)
    factors[SCHEMA.slice("hat")] = [0.5, 3]
    by_class = AttributeTargets.from_labels(labels_of_one, SCHEMA)
    by_crop = AttributeTargets.from_labels(labels_of_one, SCHEMA, weight=factors[SCHEMA.slice("hat")][hats])
    fits = [fit_heads(base, pooled, by_class, class_weights=factors), fit_heads(base, pooled, by_crop)]
    weighted, repeated = (predict_attributes(fitted, pooled) for fitted in fits)
    np.testing.assert_allclose(weighted, repeated, atol=1e-4)
    plain = predict_attributes(fit_heads(base, pooled, by_class), pooled)
    yes = SCHEMA.slice("hat").start + 1
    assert (weighted[:, yes] > plain[:, yes]).mean() > 0.9


def test_heads_without_targets_keep_their_weights() -> None:
    base, labels_of_one = package(), np.full((30, len(SCHEMA)), -1)
    labels_of_one[:, SCHEMA.index("hat")] = np.arange(30) % 2
    fitted = fit_heads(base, random_features(30), AttributeTargets.from_labels(labels_of_one, SCHEMA))
    old, new = base.network.state_dict(), fitted.network.state_dict()
    hat = SCHEMA.slice("hat")
    changed = {key for key in old if not torch.equal(old[key], new[key])}
    head = f"heads.heads.{SCHEMA.index('hat')}.1"
    awm = "reweight.correlate"
    assert changed == {f"{head}.weight", f"{head}.bias", f"{awm}.weight", f"{awm}.bias"}
    others = np.setdiff1d(np.arange(SCHEMA.classes), np.arange(hat.start, hat.stop))
    for kind in ("weight", "bias"):
        torch.testing.assert_close(new[f"{awm}.{kind}"][others], old[f"{awm}.{kind}"][others], rtol=0, atol=0)


def test_strong_pull_keeps_the_base() -> None:
    base, pooled = package(), random_features(30)
    fitted = fit_heads(base, pooled, AttributeTargets.from_labels(labels(30), SCHEMA), pull=1e9)
    np.testing.assert_allclose(predict_attributes(fitted, pooled), predict_attributes(base, pooled), atol=1e-5)


def test_measurements_of_previous_heads_are_removed() -> None:
    base = package()
    config = base.config.model_copy(update={"trained_on": {"dataset": "a"}, "judged": {"mAP": 80}})
    base = ModelPackage(config, base.network)
    fitted = fit_heads(
        base, random_features(9), AttributeTargets.from_labels(labels(9), SCHEMA), trained_on={"corrections": 9}
    )
    assert fitted.config.trained_on == {"dataset": "a", "corrections": 9}
    assert fitted.config.judged == {}
    assert fitted.calibration is not None
    assert fitted.calibration.temperatures == TEMPERATURES
    assert fitted.calibration.filter is fitted.calibration.soft is None
    again = fit_heads(fitted, random_features(9), AttributeTargets.from_labels(labels(9), SCHEMA))
    assert again.config.calibration == fitted.config.calibration


def test_replace_heads() -> None:
    model, pooled = package(), random_features(20)
    two = ModelPackage(
        model.config.model_copy(update={"calibration": None, "name": "two"}), random_package(seed=9).network
    )
    heads = fit_heads(model, pooled, AttributeTargets.from_labels(labels(20), SCHEMA))
    both = replace_heads(two, heads)
    np.testing.assert_array_equal(predict_attributes(both, pooled), predict_attributes(heads, pooled))
    assert both.name == model.name
    kept = {
        key for key, tensor in two.network.state_dict().items() if torch.equal(both.network.state_dict()[key], tensor)
    }
    assert {key for key in two.network.state_dict() if not key.startswith(("heads.", "reweight."))} <= kept
    with pytest.raises(ValueError, match="same configuration"):
        replace_heads(package(attributes="global"), heads)


def test_models_without_attributes_are_refused() -> None:
    bare = random_package(schema=None, regions=None)
    with pytest.raises(ConfigError, match="predicts no attributes"):
        extract_pooled(bare, crops(1))
    with pytest.raises(ConfigError, match="predicts no attributes"):
        fit_heads(bare, random_features(1), AttributeTargets.from_labels(labels(1), SCHEMA))


def test_empty_targets_are_refused() -> None:
    nothing = AttributeTargets.from_labels(np.full((3, len(SCHEMA)), -1), SCHEMA)
    with pytest.raises(DatasetError, match="no crop has an attribute label"):
        fit_heads(package(), random_features(3), nothing)
    with pytest.raises(DatasetError, match="no crop has an attribute label"):
        fit_heads(package(), random_features(3), AttributeTargets.from_labels(labels(3), SCHEMA, weight=0.0))
    with pytest.raises(ValueError, match="not \\(4, 39\\)"):
        fit_heads(package(), random_features(4), nothing)


@pytest.mark.parametrize("noise", [-0.1, 0.5])
def test_impossible_noise_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="noise must be in"):
        AttributeTargets.from_labels(labels(3), SCHEMA, noise=noise)
