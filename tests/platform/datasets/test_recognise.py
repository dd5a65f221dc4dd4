from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vestigo.datasets.recognise import load_dataset, recognise
from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.inference.images import read_image
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501

Writer = Callable[..., Path]


def test_market_layout(write_dataset: Writer) -> None:
    dataset = load_dataset(write_dataset(columns={}))
    assert dataset.name == "market-1501"
    assert dataset.schema is MARKET_1501
    assert dataset.junk == 1
    assert dataset.gallery.pids.tolist() == [0, 1, 1, 3, 3, 3]
    assert dataset.gallery.camids.tolist() == [1, 0, 1, 0, 1, 2]
    assert dataset.query.pids.dtype == dataset.query.camids.dtype == dataset.query.labels.dtype == np.int64
    assert [path.name for path in dataset.query.paths] == ["0001_c1s1_000000_00.jpg", "0003_c2s1_000001_00.jpg"]
    assert dataset.gallery.labelled.tolist() == [False] + [True] * 5
    assert (dataset.gallery.labels[0] == -1).all()
    assert not dataset.gallery.yes[0].any()


def test_duke_layout(write_dataset: Writer) -> None:
    root = write_dataset(duke=True, gallery=[(1, 8), (3, 1), (7139, 4)], columns={})
    dataset = load_dataset(root)
    assert dataset.name == "dukemtmc-reid"
    assert dataset.schema is DUKEMTMC_REID
    assert dataset.gallery.pids.tolist() == [1, 3, 7139]
    assert dataset.gallery.camids.tolist() == [7, 0, 3]
    assert dataset.junk == 0
    assert dataset.gallery.labels.shape == (3, 10)


def test_duke_missing_and_multi_valued(write_dataset: Writer) -> None:
    root = write_dataset(
        duke=True,
        train=[(370, 1), (679, 2), (700, 1)],
        query=[(1, 1)],
        gallery=[(1, 2), (5, 1)],
        columns={
            "train": {"top": [0, 0, 2], "upblack": [2, 1, 2]},
            "test": {"downblack": [2, 1], "downblue": [2, 1], "upred": [2, 2]},
        },
    )
    top, lower = DUKEMTMC_REID.index("upper_length"), DUKEMTMC_REID.index("lower_colour")
    dataset = load_dataset(root)
    assert dataset.train.labels[:, top].tolist() == [-1, -1, 1]
    assert load_dataset(root, duke_top_override=True).train.labels[:, top].tolist() == [0, 1, 1]
    # Two colours: the first as the single class, both in the mask; none: missing.
    assert dataset.gallery.labels[:, lower].tolist() == [0, -1]
    accepted = dataset.gallery.yes[:, DUKEMTMC_REID.slice("lower_colour")]
    assert accepted[0].tolist() == [True, False, False, False, True, False, False]
    assert not accepted[1].any()


def test_train_identities_are_relabelled_in_sorted_order(write_dataset: Writer) -> None:
    labels, pids = load_dataset(write_dataset(train=[(30, 1), (2, 1), (9, 2), (30, 3)])).train.relabelled()
    assert pids.tolist() == [2, 9, 30]
    assert labels.tolist() == [0, 1, 2, 2]
    assert labels.dtype == np.int64


def test_images_are_read_lazily(write_dataset: Writer) -> None:
    root = write_dataset()
    broken = root / "query" / "0001_c1s1_000000_00.jpg"
    broken.write_bytes(b"text, not a picture")
    dataset = load_dataset(root)
    with pytest.raises(BadInput, match=r"0001_c1s1_000000_00\.jpg"):
        read_image(dataset.query.paths[0])


def test_dataset_loads_without_annotation_file(write_dataset: Writer) -> None:
    root = write_dataset()
    dataset = load_dataset(root)
    assert (dataset.query.labels == -1).all()
    with pytest.raises(DatasetError, match=r"market_attribute\.mat is not in it; copy it there"):
        dataset.require_attributes()
    load_dataset(write_dataset(columns={}, name="annotated")).require_attributes()


def test_other_files_are_ignored(write_dataset: Writer) -> None:
    root = write_dataset()
    (root / "query" / "Thumbs.db").write_bytes(b"\0")
    assert len(load_dataset(root).query) == 2


def test_format_can_be_forced(write_dataset: Writer) -> None:
    root = write_dataset()
    assert load_dataset(root, "market-1501").name == "market-1501"
    with pytest.raises(DatasetError, match=r"are not like 0001_c2_f0046182\.jpg"):
        load_dataset(root, "dukemtmc-reid")
    with pytest.raises(DatasetError, match="unknown format 'cuhk'; choose one of market-1501, dukemtmc-reid, msmt17"):
        load_dataset(root, "cuhk")


def test_unexpected_file_name_is_reported(write_dataset: Writer) -> None:
    root = write_dataset()
    (root / "bounding_box_test" / "holiday.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"1 of 8 image names .* 'holiday\.jpg'"):
        load_dataset(root)


def test_wrong_folders_are_reported_in_one_line(write_dataset: Writer, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        load_dataset(tmp_path / "nowhere")
    root = write_dataset()
    with pytest.raises(DatasetError, match=r"did you mean .*dataset"):
        load_dataset(tmp_path)
    assert recognise(tmp_path) is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="it has no bounding_box_train, query, bounding_box_test"):
        load_dataset(tmp_path / "empty")
    for image in (root / "query").iterdir():
        image.unlink()
    with pytest.raises(DatasetError, match="no image in query is named like"):
        load_dataset(root)
    with pytest.raises(DatasetError, match="holds no image"):
        load_dataset(root, "market-1501")


def test_training_split_may_be_empty(write_dataset: Writer) -> None:
    dataset = load_dataset(write_dataset(train=[], columns={}))
    assert len(dataset.train) == 0
    assert dataset.train.labels.shape == (0, 12)
    assert [len(part) for part in dataset.train.relabelled()] == [0, 0]
