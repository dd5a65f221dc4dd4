"""Label files: CSV for other tools, and labels of identities for the public `.mat` structure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vestigo.csv_files import csv_writer, read_csv_rows
from vestigo.datasets.attributes_csv import count_votes, require_value
from vestigo.datasets.attributes_mat import IdentityLabels
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.parquet.schemas import LABELS
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import AttributeSchema

LIST_COLUMNS, SEPARATOR = ("crops", "reviewers"), ";"


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write label rows (columns of `store.parquet.schemas.LABELS`) atomically and return their number."""

    def to_cells(row: Mapping[str, Any]) -> dict[str, Any]:
        lists = {name: SEPARATOR.join(row[name] or ()) for name in LIST_COLUMNS}
        times = {name: row[name].isoformat() if row[name] else "" for name in ("time", "answered")}
        return {**row, **lists, **times}

    with csv_writer(path, LABELS.names) as table:
        return table.write_all(map(to_cells, rows))


def read_csv(path: Path, schema: AttributeSchema) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file with the columns crops, attribute and value; raise DatasetError for an invalid one."""
    for where, row in read_csv_rows(path, ("crops", "attribute", "value")):
        yield _parse_row(row, schema, where)


def _parse_row(row: dict[str, str], schema: AttributeSchema, where: str) -> dict[str, Any]:
    name = row["attribute"]
    if name not in schema.names:
        raise DatasetError(f"{where}: {name!r} is not an attribute of {schema.name}: {', '.join(schema.names)}")
    require_value(schema, name, row["value"], where)
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
    """Reduce label rows (columns of `store.parquet.schemas.LABELS`) to one label for each identity and attribute.

    The value of most tasks wins, and of equally frequent ones the first of the schema. "Cannot tell" is missing. `pids`
    is crop id to identity; rows of other crops are skipped.
    """
    votes = (
        (pid, row["attribute"], row["value"])
        for row in rows
        if row["value"] != CANNOT_TELL
        for pid in {pids[crop] for crop in row["crops"] if crop in pids}
    )
    return count_votes(votes, schema)
