from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vestigo.datasets.files import GALLERY, QUERY, TRAIN, DatasetFiles, ImageLabel, SplitFiles
from vestigo.datasets.hold_out import hold_out
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.datasets.statistics import dataset_statistics
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.builtin import MARKET_1501

Writer = Callable[..., Path]
PEOPLE = [(pid, camera) for pid in range(1, 12) for camera in (1, 2, 3) for _ in range(1 + pid % 3)]


@pytest.fixture
def only_training(write_dataset: Writer) -> Path:
    hats = [1 + pid % 2 for pid in range(1, 12)]
    root = write_dataset(train=PEOPLE, query=[], gallery=[], columns={"train": {"hat": hats}})
    for split in (QUERY, GALLERY):
        (root / split).rmdir()
    return root


def names(dataset: ReidDataset) -> list[list[str]]:
    return [[path.name for path in split.paths] for split in (dataset.train, dataset.query, dataset.gallery)]


def test_held_out_identities_are_judged_as_in_benchmark(only_training: Path) -> None:
    dataset = load_dataset(only_training, hold_out_identities=4)
    judged = set(dataset.query.pids.tolist())
    assert len(judged) == dataset.held_out == 4
    assert judged.isdisjoint(dataset.train.pids.tolist())
    assert set(dataset.gallery.pids.tolist()) <= judged
    assert sorted(name for split in names(dataset) for name in split) == sorted(
        path.name for path in (only_training / TRAIN).iterdir()
    )
    views = Counter(zip(dataset.query.pids.tolist(), dataset.query.camids.tolist(), strict=True))
    assert set(views.values()) == {1}
    several = {pid for pid, count in Counter(pid for pid, _ in PEOPLE).items() if count > 3}
    for pid in judged:
        assert {camera for other, camera in views if other == pid} == ({0, 1, 2} if pid in several else {0, 1})
    assert dataset.notes == (
        "4 of 11 training identities are held out and judged: "
        f"{len(dataset.query)} queries, {len(dataset.gallery)} gallery images",
    )


def test_held_out_identities_have_labels_of_training_split(only_training: Path) -> None:
    dataset = load_dataset(only_training, hold_out_identities=4)
    dataset.require_attributes()
    hat = MARKET_1501.index("hat")
    for split in (dataset.train, dataset.query, dataset.gallery):
        np.testing.assert_array_equal(split.labels[:, hat], split.pids % 2)


def test_fifth_is_held_out_by_default(only_training: Path) -> None:
    dataset = load_dataset(only_training)
    assert dataset.held_out == 3
    (text,) = dataset.notes
    assert text.startswith("no test split: 3 of 11 training identities are held out and judged: ")
    assert text.endswith("; --hold-out sets how many")


def test_choice_depends_on_seed_only(only_training: Path) -> None:
    choices = [
        set(load_dataset(only_training, hold_out_identities=4, hold_out_seed=seed).query.pids.tolist())
        for seed in (0, 0, 1, 2)
    ]
    assert choices[0] == choices[1]
    assert len({frozenset(choice) for choice in choices}) > 1
    assert set(load_dataset(only_training, hold_out_identities=2).query.pids.tolist()) < choices[0]


def test_hold_out_replaces_test_splits(write_dataset: Writer) -> None:
    root = write_dataset(columns={})
    dataset = load_dataset(root, hold_out_identities=1)
    assert set(dataset.query.pids.tolist()) < {2, 7}
    assert {path.parent.name for path in dataset.gallery.paths} == {TRAIN}
    assert load_dataset(root).held_out == 0


def test_distractors_and_junk_stay_in_training_split() -> None:
    labels = (ImageLabel(0, 1), ImageLabel(-1, 1), None, ImageLabel(3, 1), ImageLabel(3, 2), ImageLabel(3, 2))
    train = SplitFiles(folder=Path(TRAIN), names=tuple("abcdef"), labels=labels)
    files = DatasetFiles(has_lists=False, splits={TRAIN: train}, passed_over={})
    splits = hold_out(files, 1).splits
    assert splits[TRAIN].names == ("a", "b", "c")
    assert "d" in splits[QUERY].names
    assert len(splits[QUERY].names) == 2
    assert len(splits[GALLERY].names) == 1


@pytest.mark.parametrize("identities", [0, 12])
def test_wrong_number_is_refused(only_training: Path, identities: int) -> None:
    with pytest.raises(DatasetError, match=f"cannot hold {identities} identities out of a training split of 11"):
        load_dataset(only_training, hold_out_identities=identities)


def test_statistics_show_split_on_request(only_training: Path) -> None:
    plain = dataset_statistics(only_training)
    assert plain.splits.keys() == {"train"}
    assert plain.notes[0].startswith("no test split: 3 of 11 ")
    held_out = dataset_statistics(only_training, hold_out_identities=4)
    assert [held_out.splits[name].identities for name in ("train", "query", "gallery")] == [7, 4, 4]
    assert (held_out.identities, held_out.images) == (plain.identities, plain.images) == (11, len(PEOPLE))
    assert held_out.splits["query"].attributes["hat"].keys() == {"no", "yes"}
