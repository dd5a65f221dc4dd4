"""Label files: CSV for other tools, and labels of identities for the public `.mat` structure."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vestigo.datasets.attributes_csv import count_votes
from vestigo.datasets.attributes_mat import IdentityLabels
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.parquet.schemas import LABELS
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema

LIST_COLUMNS, SEPARATOR = ("crops", "reviewers"), ";"


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write label rows (columns of `store.parquet.schemas.LABELS`) atomically and return their number."""
    partial = path.with_name(f"{path.name}.partial")
    count = 0
    with partial.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, LABELS.names)
        table.writeheader()
        for row in rows:
            lists = {name: SEPARATOR.join(row[name] or ()) for name in LIST_COLUMNS}
            times = {name: row[name].isoformat() if row[name] else "" for name in ("time", "answered")}
            table.writerow({**row, **lists, **times})
            count += 1
    partial.replace(path)
    return count


def read_csv(path: Path, schema: AttributeSchema) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of `write_csv`, or of any file with the columns crops, attribute and value.

    Raises:
        DatasetError: If the file is unreadable, or a row has an unknown attribute, value or time.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream)
            if missing := {"crops", "attribute", "value"} - set(table.fieldnames or ()):
                raise DatasetError(f"{path}: column {min(missing)} is missing (see `vestigo label export`)")
            for row in table:
                yield _parse_row(row, schema, f"{path}, line {table.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is no CSV file ({' '.join(str(error).split())})") from None


def _parse_row(row: dict[str, str], schema: AttributeSchema, where: str) -> dict[str, Any]:
    name, value = row["attribute"], row["value"]
    if name not in schema.names:
        raise DatasetError(f"{where}: {name!r} is not an attribute of {schema.name}: {', '.join(schema.names)}")
    if value not in (*schema[name].values, CANNOT_TELL):
        raise DatasetError(f"{where}: {name} cannot be {value!r}; it is one of {', '.join(schema[name].values)}")
    try:
        answered = datetime.fromisoformat(row["answered"]) if row.get("answered") else datetime.now(UTC)
    except ValueError:
        raise DatasetError(f"{where}: {row['answered']!r} is not a time as in 2026-05-01T08:00:00+00:00") from None
    answered = answered if answered.tzinfo else answered.replace(tzinfo=UTC)
    lists = {key: [part for part in (row.get(key) or "").split(SEPARATOR) if part] for key in LIST_COLUMNS}
    return {**row, **lists, "answered": answered}


def identity_labels(
    rows: Iterable[Mapping[str, Any]], pids: Mapping[str, int], schema: AttributeSchema
) -> IdentityLabels:
    """Reduce label rows to one label for each identity and attribute.

    The value of most tasks wins, and of equally frequent ones the first of the schema. "Cannot tell" is missing.

    Args:
        rows: Columns of `store.parquet.schemas.LABELS`.
        pids: Crop id to identity; rows of other crops are left out.
        schema: The attributes.
    """
    labels = (row for row in rows if row["value"] != CANNOT_TELL)
    votes = (
        (pid, row["attribute"], row["value"])
        for row in labels
        for pid in {pids[crop] for crop in row["crops"] if crop in pids}
    )
    return count_votes(votes, schema)
