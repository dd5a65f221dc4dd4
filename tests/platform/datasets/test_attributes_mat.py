from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from vestigo.datasets.attributes_mat import IdentityLabels, read_annotations
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501

SHOP = AttributeSchema.from_dict(
    {
        "name": "shop",
        "attributes": [
            {"name": "hat", "values": ["no", "yes"]},
            {"name": "colour", "values": ["red", "blue"], "fields": ["red", "blue"]},
        ],
    }
)


def mat(path: Path, **test: list[int] | np.ndarray) -> Path:
    index = np.empty((1, 3), dtype=object)
    index[0] = ["0004", "0002", "0009"]
    split = {"hat": [[1, 2, 0]], "red": [[2, 1, 2]], "blue": [[1, 1, 2]], "image_index": index}
    given = {name: column if name == "image_index" else [column] for name, column in test.items()}
    scipy.io.savemat(path, {"shop": {"test": split, "train": split | given}})
    return path


# Specification section 2.3: identities with each value, in value order; the last of a colour group is "none".
MARKET_COUNTS = {
    "gender": ([431, 320], [414, 336]),
    "age": ([14, 569, 160, 8], [2, 640, 103, 5]),
    "hair": ([506, 245], [475, 275]),
    "sleeve": ([39, 712], [45, 705]),
    "lower_length": ([294, 457], [262, 488]),
    "lower_type": ([110, 641], [85, 665]),
    "hat": ([731, 20], [727, 23]),
    "backpack": ([751 - 199, 199], [750 - 187, 187]),
    "bag": ([751 - 185, 185], [750 - 185, 185]),
    "handbag": ([751 - 86, 86], [750 - 76, 76]),
}
MARKET_COLOURS = {
    "upper_colour": ([113, 228, 78, 30, 86, 46, 56, 36], 78, [109, 208, 76, 24, 106, 52, 45, 61], 69),
    "lower_colour": ([293, 58, 29, 123, 123, 14, 69, 10, 2], 30, [287, 50, 20, 126, 154, 20, 48, 1, 0], 44),
}


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "identities"), [("train", 751), ("test", 750)])
def test_counts_of_the_real_file(real_data: Path, split: str, identities: int) -> None:
    read = read_annotations(real_data / "market_attribute.mat", MARKET_1501, split)
    column = ("train", "test").index(split)
    assert len(read.pids) == identities
    assert (read.pids[0], read.pids[-1]) == ((2, 1500) if split == "train" else (1, 1501))
    assert (np.diff(read.pids) > 0).all()
    for name, counts in MARKET_COUNTS.items():
        labels = read.labels[:, MARKET_1501.index(name)]
        assert np.bincount(labels, minlength=len(counts[column])).tolist() == counts[column], name
    for name, (train, train_none, test, test_none) in MARKET_COLOURS.items():
        accepted = read.yes[:, MARKET_1501.slice(name)]
        assert accepted.sum(axis=0).tolist() == (train, test)[column], name
        assert (~accepted.any(axis=1)).sum() == (train_none, test_none)[column], name
        assert (read.labels[:, MARKET_1501.index(name)] == -1).sum() == (train_none, test_none)[column], name


@pytest.mark.real_data
def test_real_splits_are_disjoint_and_carrying_is_as_published(real_data: Path) -> None:
    train, test = (read_annotations(real_data / "market_attribute.mat", MARKET_1501, s) for s in ("train", "test"))
    assert not set(train.pids) & set(test.pids)
    carrying = [MARKET_1501.index(name) for name in ("backpack", "bag", "handbag")]
    for read, share in ((train, 62.6), (test, 59.7)):
        assert (read.labels[:, carrying] == 1).any(axis=1).mean() * 100 == pytest.approx(share, abs=0.05)


def test_values_and_order(tmp_path: Path) -> None:
    read = read_annotations(mat(tmp_path / "a.mat"), SHOP, "train")
    assert read.pids.tolist() == [2, 4, 9]
    assert read.labels.tolist() == [[1, -1], [0, 0], [-1, 0]]
    assert read.yes.astype(int).tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]]


def test_field_order_does_not_matter(tmp_path: Path) -> None:
    path = mat(tmp_path / "a.mat")
    content = scipy.io.loadmat(path)["shop"]["train"].item()
    names = content.dtype.names
    permuted = {name: content[name].item() for name in reversed(names)}
    scipy.io.savemat(tmp_path / "b.mat", {"shop": {"train": permuted}})
    first, second = (read_annotations(tmp_path / f"{name}.mat", SHOP, "train") for name in "ab")
    assert (first.labels == second.labels).all()
    assert (first.yes == second.yes).all()


def test_expansion_to_images(tmp_path: Path) -> None:
    read = read_annotations(mat(tmp_path / "a.mat"), SHOP, "train")
    labels, yes = read.expand(np.array([9, 0, 4, 4, 3, 10_000]))
    assert labels.tolist() == [[-1, 0], [-1, -1], [0, 0], [0, 0], [-1, -1], [-1, -1]]
    assert yes.any(axis=1).tolist() == [True, False, True, True, False, False]
    labels, yes = IdentityLabels.none(SHOP).expand(np.array([1, 2]))
    assert (labels == -1).all()
    assert yes.shape == (2, 4)


def test_overrides_fill_only_what_is_missing(tmp_path: Path) -> None:
    overrides = {(9, "hat"): "yes", (2, "hat"): "no"}
    read = read_annotations(mat(tmp_path / "a.mat"), SHOP, "train", overrides=overrides)
    assert read.labels[:, 0].tolist() == [1, 0, 1]
    assert read.yes[2, :2].tolist() == [False, True]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"hat": [1, 3, 1]}, "field 'hat' holds 3, outside 0"),
        ({"hat": [1, 1.5, 1]}, "field 'hat' holds 1.5, outside 0"),
        ({"hat": [1, float("nan"), 1]}, "field 'hat' holds nan, outside 0"),
        ({"red": [1, 2]}, "field 'red' must hold one number for each of the 3"),
        ({"image_index": np.array([["1", "x", "2"]], dtype=object)}, "'x', which is not an identity"),
        ({"image_index": np.array([["1", "2", "1"]], dtype=object)}, "names an identity twice"),
    ],
)
def test_invalid_annotations_are_reported(tmp_path: Path, columns: dict[str, list[int]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_annotations(mat(tmp_path / "a.mat", **columns), SHOP, "train")


def test_unreadable_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="field 'gender' is missing"):
        read_annotations(mat(tmp_path / "a.mat"), MARKET_1501, "train")
    with pytest.raises(DatasetError, match="has no 'validation'"):
        read_annotations(tmp_path / "a.mat", SHOP, "validation")
    with pytest.raises(DatasetError, match="no such annotation file"):
        read_annotations(tmp_path / "none.mat", SHOP, "train")
    (tmp_path / "text.mat").write_text("not a matlab file, " * 20)
    with pytest.raises(DatasetError, match="not a MATLAB v5 file"):
        read_annotations(tmp_path / "text.mat", SHOP, "train")
    (tmp_path / "cut.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:700])
    with pytest.raises(DatasetError):
        read_annotations(tmp_path / "cut.mat", SHOP, "train")
    header = b"MATLAB 7.3 MAT-file".ljust(512)
    (tmp_path / "new.mat").write_bytes(header + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(DatasetError, match=r"a MATLAB 7\.3 file, which is not read; .* save it with option -v7"):
        read_annotations(tmp_path / "new.mat", SHOP, "train")
    scipy.io.savemat(tmp_path / "number.mat", {"x": 3})
    with pytest.raises(DatasetError, match="is this an attribute annotation"):
        read_annotations(tmp_path / "number.mat", SHOP, "train")


@pytest.mark.parametrize(("position", "value", "message"), [(336, 14, "crashed its decoder"), (163, 14, "more memory")])
def test_damaged_file_ends_with_one_line(position: int, value: int, message: str, tmp_path: Path) -> None:
    """One wrong byte crashes SciPy's process or makes it allocate petabytes."""
    identities = np.empty((1, 2), dtype=object)
    identities[0, :] = ["0001", "0002"]
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"m": {"train": {"hat": np.array([[1, 2]], np.uint8), "image_index": identities}}})
    data = bytearray(path.read_bytes())
    data[position] = value
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=f"^{path}.*{message}"):
        read_annotations(path, SHOP, "train")
