"""Attribute labels of a user's own schema, read from `attributes.csv`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.datasets import DatasetWriter
from vestigo.datasets.attributes_csv import read_attributes_csv, write_attributes_csv
from vestigo.datasets.recognise import load_dataset, load_dataset_for_model
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import Attribute, AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501

SHOP = AttributeSchema(
    name="shop",
    attributes=(
        Attribute(name="mask", values=("no", "yes"), fields=("mask",), title="Mask"),
        Attribute(name="coat", values=("short", "long"), fields=("coat",), title="Coat"),
    ),
)
ROWS = "pid,attribute,value\n2,mask,yes\n2,coat,long\n7,mask,no\n1,mask,yes\n3,coat,short\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "attributes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_of_own_schema_are_read_from_csv(write_dataset: DatasetWriter) -> None:
    root = write_dataset(columns={})
    write(root, ROWS)
    dataset = load_dataset(root, schema=SHOP)
    assert dataset.schema is SHOP
    assert dataset.without_labels == ""
    assert dataset.train.labels.tolist() == [[1, 1], [1, 1], [0, -1], [0, -1]]
    assert dataset.query.labels.tolist() == [[1, -1], [-1, 0]]
    assert dataset.query.yes.tolist() == [[False, True, False, False], [False, False, True, False]]


def test_annotation_file_with_the_fields_of_a_schema_goes_first(write_dataset: DatasetWriter) -> None:
    root = write_dataset(columns={"train": {"hat": [2, 1]}})
    write(root, "pid,attribute,value\n2,hat,no\n")
    hats = AttributeSchema(name="hats", attributes=(MARKET_1501["hat"],))
    assert load_dataset(root, schema=hats).train.labels.tolist() == [[1], [1], [0], [0]]


def test_most_frequent_value_of_an_identity_wins(tmp_path: Path) -> None:
    rows = "pid,attribute,value,crops\n5,mask,no,a\n5,mask,yes,b\n5,mask,yes,c\n5,coat,long,c\n5,coat,short,d\n"
    labels, unnamed = read_attributes_csv(write(tmp_path, rows), SHOP)
    assert labels.labels.tolist() == [[1, 0]]
    assert unnamed == ()


def test_rows_without_value_or_identity_are_no_labels(tmp_path: Path) -> None:
    rows = (
        "pid,attribute,value\n5,mask,\n,mask,yes\n-1,mask,yes\n0,mask,yes\n6,mask,cannot tell\n8,hat,yes\n9,coat,long\n"
    )
    labels, _ = read_attributes_csv(write(tmp_path, rows), SHOP)
    assert labels.pids.tolist() == [9]


def test_written_labels_are_read_back(tmp_path: Path) -> None:
    labels, _ = read_attributes_csv(write(tmp_path, ROWS), SHOP)
    write_attributes_csv(tmp_path / "copy.csv", [labels])
    copy, _ = read_attributes_csv(tmp_path / "copy.csv", SHOP)
    assert copy.pids.tolist() == labels.pids.tolist() == [1, 2, 3, 7]
    assert copy.labels.tolist() == labels.labels.tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("pid,value\n1,yes\n", "column 'attribute' is missing"),
        ("pid,attribute,value\n1,mask,maybe\n", "line 2: mask cannot be 'maybe'; it is one of no, yes"),
        ("pid,attribute,value\nann,mask,yes\n", "line 2: pid 'ann' is not an identity number"),
    ],
)
def test_invalid_csv_is_reported(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_attributes_csv(write(tmp_path, rows), SHOP)


def test_dataset_without_labels_of_a_schema_says_why(write_dataset: DatasetWriter) -> None:
    root = write_dataset(columns={})
    with pytest.raises(DatasetError, match=r"no file has the attributes of shop; write attributes\.csv"):
        load_dataset(root, schema=SHOP).require_attributes()
    assert load_dataset_for_model(root, SHOP).schema is MARKET_1501
    write(root, "pid,attribute,value\n1,mask,yes\n")
    with pytest.raises(DatasetError, match=r"attributes\.csv has no row of the attribute 'coat' of shop"):
        load_dataset(root, schema=SHOP).require_attributes()
