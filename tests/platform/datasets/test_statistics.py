from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platform.datasets.test_attributes_mat import MARKET_COLOURS, MARKET_COUNTS
from vestigo.datasets.attributes_mat import read_annotations, write_annotations
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.statistics import dataset_statistics
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.builtin import MARKET_1501

Writer = Callable[..., Path]


@pytest.mark.real_data
def test_real_annotation_has_the_counts_of_the_method(real_data: Path) -> None:
    statistics = dataset_statistics(real_data / "market_attribute.mat")
    assert (statistics.layout, statistics.identities, statistics.attributes) == ("market-1501", 1501, 12)
    assert statistics.columns == 27
    train, test = statistics.splits["train"], statistics.splits["test"]
    assert (train.identities, test.identities) == (751, 750)
    for name, counts in MARKET_COUNTS.items():
        expected = [dict(zip(MARKET_1501[name].values, values, strict=True)) for values in counts]
        assert [train.attributes[name], test.attributes[name]] == expected
    for name, (in_train, none_in_train, in_test, none_in_test) in MARKET_COLOURS.items():
        values = MARKET_1501[name].values
        assert train.attributes[name] == {**dict(zip(values, in_train, strict=True)), "none": none_in_train}
        assert test.attributes[name] == {**dict(zip(values, in_test, strict=True)), "none": none_in_test}


def test_statistics_of_a_folder(write_dataset: Writer) -> None:
    root = write_dataset(columns={"train": {"hat": [1, 2]}, "test": {"upred": [2, 1]}})
    (root / "query" / "._a.jpg").write_bytes(b"")
    (root / "query" / "holiday.jpg").write_bytes(b"")
    statistics = dataset_statistics(root)
    assert (statistics.layout, statistics.identities, statistics.images, statistics.cameras) == (
        "market-1501",
        4,
        11,
        3,
    )
    gallery = statistics.splits["gallery"]
    assert (gallery.identities, gallery.images, gallery.distractors, gallery.junk) == (2, 7, 1, 1)
    assert statistics.splits["train"].attributes["hat"] == {"no": 1, "yes": 1}
    assert gallery.attributes["upper_colour"]["red"] == gallery.attributes["upper_colour"]["none"] == 1
    assert statistics.passed_over == {"leftovers of macOS or Windows": 1, "images of other names": 1}


def test_identities_that_the_annotation_lacks_are_counted(write_dataset: Writer) -> None:
    root = write_dataset(columns={"train": {"hat": [1, 2]}})
    (root / "bounding_box_train" / "0999_c1s1_000001_00.jpg").write_bytes(b"")
    counts = dataset_statistics(root).splits["train"].attributes["hat"]
    assert counts == {"no": 1, "yes": 1, "none": 1}


def test_annotation_of_other_identities_is_no_annotation(write_dataset: Writer) -> None:
    root = write_dataset(columns={"train": {"hat": [1, 2]}})
    path = root / "market_attribute.mat"
    splits = {name: read_annotations(path, MARKET_1501, name) for name in ("train", "test")}
    write_annotations(path, {"train": splits["test"], "test": splits["train"]})
    reason = "market_attribute.mat has no identity of its images in the same split"
    assert dataset_statistics(root).without_labels.startswith(reason)
    with pytest.raises(DatasetError, match=reason):
        load_dataset(root).require_attributes()


def test_statistics_of_a_folder_without_test_splits_and_labels(write_dataset: Writer) -> None:
    root = write_dataset()
    for split in ("query", "bounding_box_test"):
        for image in (root / split).iterdir():
            image.unlink()
        (root / split).rmdir()
    statistics = dataset_statistics(root)
    assert statistics.splits.keys() == {"train"}
    assert statistics.attributes == 0
    assert "market_attribute.mat is not in it" in statistics.without_labels


def test_other_files_are_refused(tmp_path: Path) -> None:
    image = tmp_path / "people.jpg"
    image.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"people\.jpg is neither a folder nor a \.tar or \.zip"):
        dataset_statistics(image)
    with pytest.raises(DatasetError, match="not a dataset"):
        dataset_statistics(tmp_path)
