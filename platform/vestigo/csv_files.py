"""CSV files for spreadsheets and scripts: names are data there, never formulas.

A text that a spreadsheet would run as a formula is written behind an apostrophe, and read without it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vestigo_models.errors import DatasetError
from vestigo_models.private_files import create_private
from vestigo_models.text_files import text_encoding

if TYPE_CHECKING:
    import pandas as pd

_GUARD = "'"
_FORMULA = re.compile("[\t\r\n'=+@-]|[\\s\u200b-\u200f\ufeff]*[=+@\uff1d\uff0b\uff0d\uff20-]")
"""Beginnings that make a spreadsheet read a cell as a formula; some pass over blanks and read wide characters."""


def guard_cell(value: Any) -> Any:
    """Return a value as a CSV file holds it: text that would be a formula behind an apostrophe."""
    return f"{_GUARD}{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def read_cell(text: str) -> str:
    """Return the text of a cell, see `guard_cell`."""
    return text[1:] if text.startswith(_GUARD) and _FORMULA.match(text[1:]) else text


@contextmanager
def csv_writer(path: Path, columns: Sequence[str]) -> Iterator[CsvWriter]:
    """Write a private CSV file that takes its place when the block ends; after an error there is no file."""
    with create_private(path, "w", newline="") as stream:
        yield CsvWriter(stream, columns)


class CsvWriter:
    """Writes rows of named columns to an open file; the header first."""

    def __init__(self, stream: Any, columns: Sequence[str]) -> None:
        self._columns = columns
        # A text in quotes is one cell also where a program separates cells by semicolons.
        self._table = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
        self._table.writerow(map(guard_cell, columns))

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row; None is an empty cell, other keys are left out."""
        self._table.writerow(guard_cell(row[name]) for name in self._columns)

    def write_all(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Write rows and return their number."""
        count = 0
        for row in rows:
            self.write(row)
            count += 1
        return count


def read_csv_rows(path: Path, columns: Collection[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield place (for messages) and content of each row, separated by commas, semicolons or tabs.

    Raises:
        DatasetError: If the file is unreadable or without `columns`.
    """
    try:
        with path.open(encoding=text_encoding(path), newline="") as stream:
            header = stream.readline()
            # Excel's own first line, such as "sep=;".
            marked = header[4:5] if header.lower().startswith("sep=") else ""
            if not marked:
                stream.seek(0)
            separator = marked or max(",;\t", key=header.count)
            table = csv.DictReader(stream, restval="", delimiter=separator, skipinitialspace=True)
            names = [name.strip() for name in table.fieldnames or ()]
            table.fieldnames = names
            if missing := [name for name in columns if name not in names]:
                has = f", it has {', '.join(names)[:200]}" if names else ""
                raise DatasetError(f"{path}: column {missing[0]!r} is missing{has}; give {', '.join(columns)}")
            for row in table:
                yield f"{path}, line {table.line_num}", {name: read_cell(text) for name, text in row.items() if name}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is no CSV file ({' '.join(str(error).split())})") from None


def frame_to_csv(frame: pd.DataFrame) -> str:
    """Return a table as the text of a CSV file."""
    texts = frame.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz", "timedelta"]).map(guard_cell)
    text: str = frame.assign(**texts).rename(columns=guard_cell).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC)
    return text
