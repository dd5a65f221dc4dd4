from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from vestigo.csv_files import csv_writer, frame_to_csv, guard_cell, read_cell, read_csv_rows
from vestigo_models.errors import DatasetError

HOSTILE = [
    "=1+1",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "'=1",
    "''",
    "plain",
    "",
    "a,b",
    '"',
    "Gate, north",
    " =1",
    "\ufeff=1",
    "\uff1d1",
    "a;=1",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_guarded_text_is_no_formula_and_reads_back(text: str) -> None:
    assert not str(guard_cell(text)).strip(" \ufeff").startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
    assert read_cell(guard_cell(text)) == text


def test_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with csv_writer(path, ("pid", "name")) as table:
        assert table.write_all({"pid": -1, "name": text, "other": 0} for text in HOSTILE) == len(HOSTILE)
    assert path.read_text("utf-8").splitlines()[1] == '-1,"\'=1+1"'
    assert [row for _, row in read_csv_rows(path, ("pid",))] == [{"pid": "-1", "name": text} for text in HOSTILE]


def test_failed_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), csv_writer(tmp_path / "a.csv", ("pid",)) as table:
        table.write({})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_mark_is_skipped(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("crops,value\r\na,é\r\n", encoding=encoding, newline="")
    assert [row for _, row in read_csv_rows(path, ("crops",))] == [{"crops": "a", "value": "é"}]


@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_separators_of_spreadsheets_are_read(tmp_path: Path, encoding: str, separator: str) -> None:
    path = tmp_path / "sheet.csv"
    lines = [("crops", "value"), ("a", "b c"), ("d", '"e,;f"')]
    rows = "".join(separator.join(line) + "\r\n" for line in lines)
    for mark in ("", f"sep={separator[0]}\r\n"):
        path.write_text(mark + rows, encoding=encoding, newline="")
        read = [row for _, row in read_csv_rows(path, ("crops", "value"))]
        assert read == [{"crops": "a", "value": "b c"}, {"crops": "d", "value": "e,;f"}]


def test_missing_column_names_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("PID;value\n1;yes\n")
    with pytest.raises(DatasetError, match="column 'pid' is missing, it has PID, value; give pid, value"):
        list(read_csv_rows(tmp_path / "sheet.csv", ("pid", "value")))


def test_table_guards_texts_and_names_only() -> None:
    frame = pd.DataFrame({"=x": ["=1", None], "distance": [-0.5, 1.0], "frame": pd.array([-1, None], "Int64")})
    frame["kind"] = pd.Categorical(["=2", "a;=3"])
    lines = ['"\'=x","distance","frame","kind"', '"\'=1",-0.5,-1,"\'=2"', '"",1.0,"","a;=3"', ""]
    assert frame_to_csv(frame) == "\n".join(lines)
