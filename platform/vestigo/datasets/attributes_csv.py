"""Attribute labels of identities as CSV rows `pid, attribute, value`, as `vestigo label export` writes them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from vestigo.csv_files import csv_writer, read_csv_rows
from vestigo.datasets.attributes_mat import IdentityLabels
from vestigo_models.errors import DatasetError
from vestigo_models.schemas.attributes import CANNOT_TELL, AttributeSchema

ATTRIBUTES_CSV = "attributes.csv"
"""Name of the file in the folder of a dataset."""
COLUMNS = ("pid", "attribute", "value")


def count_votes(votes: Iterable[tuple[int, str, str]], schema: AttributeSchema) -> IdentityLabels:
    """Reduce votes `(pid, attribute, value)` to one label for each identity and attribute.

    The most frequent value wins, and of equally frequent ones the first of the schema.
    """
    counts = Counter((pid, schema.slice(name).start + schema[name].values.index(value)) for pid, name, value in votes)
    pids = np.array(sorted({pid for pid, _ in counts}), dtype=np.int64)
    table = np.zeros((len(pids), schema.classes), dtype=np.int64)
    for (pid, column), count in counts.items():
        table[np.searchsorted(pids, pid), column] = count
    groups = [table[:, schema.slice(name)] for name in schema.names]
    labels = np.stack([np.where(group.any(axis=1), group.argmax(axis=1), -1) for group in groups], axis=1)
    return IdentityLabels.from_labels(schema, pids, labels)


def read_attributes_csv(path: Path, schema: AttributeSchema) -> tuple[IdentityLabels, tuple[str, ...]]:
    """Read the labels of a schema from a CSV file with the columns `pid`, `attribute` and `value`; others are ignored.

    A row without a value, with the value "cannot tell", or without an identity (`pid` empty or at most 0) is no label.
    Rows of attributes that are not in the schema are ignored.

    Returns:
        The labels, and the attributes of the schema that no row names.

    Raises:
        DatasetError: If the file is not such a CSV file, or a row has a value that the attribute does not have.
    """
    named: set[str] = set()

    def votes(rows: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[tuple[int, str, str]]:
        for where, row in rows:
            name, value = row["attribute"], row["value"]
            if name not in schema.names:
                continue
            named.add(name)
            if value:
                require_value(schema, name, value, where)
            pid = _read_pid(row["pid"], where)
            if value and value != CANNOT_TELL and pid > 0:
                yield pid, name, value

    labels = count_votes(votes(read_csv_rows(path, COLUMNS)), schema)
    return labels, tuple(name for name in schema.names if name not in named)


def write_attributes_csv(path: Path, splits: Iterable[IdentityLabels]) -> None:
    """Write the labels of identities, one row for each label; missing labels have no row."""
    with csv_writer(path, COLUMNS) as table:
        for split in splits:
            for pid, row in zip(split.pids.tolist(), split.labels.tolist(), strict=True):
                for attribute, value in zip(split.schema.attributes, row, strict=True):
                    if value >= 0:
                        table.write({"pid": pid, "attribute": attribute.name, "value": attribute.values[value]})


def require_value(schema: AttributeSchema, name: str, value: str, where: str) -> None:
    """Raise DatasetError unless `value` is "cannot tell" or a value of the attribute `name`."""
    if value not in (*schema[name].values, CANNOT_TELL):
        raise DatasetError(f"{where}: {name} cannot be {value!r}; it is one of {', '.join(schema[name].values)}")


def _read_pid(text: str, where: str) -> int:
    try:
        return int(text) if text else -1
    except ValueError:
        raise DatasetError(f"{where}: pid {text!r} is not an identity number") from None
