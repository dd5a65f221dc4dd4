from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vestigo.datasets.attributes_mat import read_annotations
from vestigo.evaluation.metrics.attributes import attribute_metrics
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501, SCHEMAS

SMALL = AttributeSchema.from_dict(
    {
        "name": "small",
        "attributes": [
            {"name": "hat", "values": ["no", "yes"]},
            {"name": "colour", "values": ["red", "blue", "green"], "fields": ["red", "blue", "green"]},
        ],
    }
)


def random_truth(rng: np.random.Generator, schema: AttributeSchema, n: int) -> tuple[np.ndarray, np.ndarray]:
    yes = np.zeros((n, schema.classes), dtype=bool)
    labels = np.full((n, len(schema)), -1)
    for row in range(n):
        for position, attribute in enumerate(schema.attributes):
            most = 3 if attribute.multi_field else 1
            chosen = rng.choice(len(attribute.values), size=rng.integers(0, most + 1), replace=False)
            for value in chosen:
                yes[row, schema.offsets[position] + value] = True
            if len(chosen):
                labels[row, position] = min(chosen)
    return labels, yes


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_scores_equal_naive_loop(schema: AttributeSchema) -> None:
    rng = np.random.default_rng(3)
    labels, yes = random_truth(rng, schema, 150)
    predictions = np.stack([rng.integers(0, len(a.values), 150) for a in schema.attributes], axis=1)
    metrics = attribute_metrics(predictions, labels, yes, schema)
    recalls = []
    for position, attribute in enumerate(schema.attributes):
        right = labelled = 0
        hits = {value: [] for value in range(len(attribute.values))}
        for row in range(150):
            accepted = {v for v in range(len(attribute.values)) if yes[row, schema.offsets[position] + v]}
            correct = predictions[row, position] in accepted
            right += correct
            if accepted:
                labelled += 1
                hits[labels[row, position]].append(correct)
        assert metrics.official[attribute.name] == pytest.approx(100 * right / 150)
        assert metrics.labelled_only[attribute.name] == pytest.approx(100 * right / labelled)
        by_value = [sum(hit) / len(hit) for hit in hits.values() if hit]
        recalls.append(100 * sum(by_value) / len(by_value))
    assert metrics.balanced == pytest.approx(sum(recalls) / len(recalls))
    assert metrics.official_mean == pytest.approx(sum(metrics.official.values()) / len(schema))
    assert list(metrics.official) == list(schema.names)


def test_official_accuracy_of_no_colour_and_two_colours() -> None:
    """Hat; red, blue, green: one red, one of no colour, one blue and green."""
    yes = np.array([[1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 1, 1]], dtype=bool)
    labels = np.array([[0, 0], [0, -1], [1, 1]])
    for second in (1, 2):
        metrics = attribute_metrics(np.array([[0, 0], [0, 0], [1, second]]), labels, yes, SMALL)
        assert metrics.official == {"hat": 100.0, "colour": pytest.approx(200 / 3)}
        assert metrics.labelled_only == {"hat": 100.0, "colour": 100.0}
        assert metrics.recall["colour"] == {"red": 100.0, "blue": 100.0, "green": None}
        assert metrics.balanced == 100.0


@pytest.mark.real_data
def test_majority_floor_of_the_real_file(real_data: Path) -> None:
    test = read_annotations(real_data / "market_attribute.mat", MARKET_1501, "test")
    counts = test.yes.sum(axis=0)
    majority = np.array([counts[MARKET_1501.slice(name)].argmax() for name in MARKET_1501.names])
    predictions = np.tile(majority, (len(test.pids), 1))
    metrics = attribute_metrics(predictions, test.labels, test.yes, MARKET_1501)
    published = [55.2, 85.3, 63.3, 94.0, 65.1, 88.7, 75.1, 89.9, 75.3, 96.9, 27.7, 38.3]
    assert list(metrics.official.values()) == pytest.approx(published, abs=0.051)
    assert metrics.official_mean == pytest.approx(71.2, abs=0.05)


@pytest.mark.real_data
def test_colourless_identities_cap_the_official_accuracy(real_data: Path) -> None:
    test = read_annotations(real_data / "market_attribute.mat", MARKET_1501, "test")
    metrics = attribute_metrics(np.maximum(test.labels, 0), test.labels, test.yes, MARKET_1501)
    assert metrics.official["upper_colour"] == pytest.approx(90.8, abs=0.05)
    assert metrics.official["lower_colour"] == pytest.approx(94.1, abs=0.05)
    assert set(metrics.labelled_only.values()) == {100.0}
    assert metrics.balanced == 100.0


def test_metrics_without_labels_are_none() -> None:
    nothing = np.zeros((0, 2), dtype=np.int64)
    metrics = attribute_metrics(nothing, nothing, np.zeros((0, 5), dtype=bool), SMALL)
    assert metrics.images == 0
    assert metrics.official == {"hat": None, "colour": None}
    assert metrics.official_mean is None
    assert metrics.balanced is None
    labels, yes = np.full((2, 2), -1), np.zeros((2, 5), dtype=bool)
    unlabelled = attribute_metrics(np.zeros((2, 2), dtype=np.int64), labels, yes, SMALL)
    assert unlabelled.official == {"hat": 0.0, "colour": 0.0}
    assert unlabelled.labelled_only == {"hat": None, "colour": None}
