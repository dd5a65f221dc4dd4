"""Attribute annotations of the public `.mat` files (docs/method.md, "Attribute annotations").

One 1x1 MATLAB struct holds `train` and `test`; each has one 1xN field an annotation column and `image_index`, the
N identities. The order of fields differs between splits and files, so everything is accessed by name. Annotation is
by identity: a backpack may be labelled on an image that does not show it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.io
from numpy.typing import NDArray

from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.isolation import call
from vestigo_models.schemas.attributes import Attribute, AttributeSchema

Result = TypeVar("Result")

MEMORY_BYTES = 2**30
"""Limit of memory to read a file; the public ones take some megabytes."""
VARIABLE = "market_attribute"
"""Name of the one struct in files that are written here; any is read."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
"""Signature of HDF5, at byte 0 or 512 of MATLAB 7.3 files."""
UNREADABLE = (ValueError, TypeError, LookupError, EOFError, OSError, NotImplementedError, zlib.error)
"""What SciPy raises for other files than MATLAB v5."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityLabels:
    """Attribute labels of I identities."""

    schema: AttributeSchema
    pids: NDArray[np.int64]  # (I,) int64, ascending
    labels: NDArray[np.int64]  # (I, n) int64 values, as in `vestigo.datasets.reid.Split`
    yes: NDArray[np.bool_]  # (I, M) bool, as in `vestigo.datasets.reid.Split`

    @classmethod
    def from_labels(cls, schema: AttributeSchema, pids: NDArray[np.int64], labels: NDArray[np.int64]) -> IdentityLabels:
        """Annotations of one accepted class each: pids (I,) ascending, labels (I, n), -1 where missing."""
        yes = np.zeros((len(pids), schema.classes), dtype=np.bool_)
        rows, columns = np.nonzero(labels >= 0)
        yes[rows, np.asarray(schema.offsets)[columns] + labels[rows, columns]] = True
        return cls(schema=schema, pids=pids, labels=labels, yes=yes)

    @classmethod
    def none(cls, schema: AttributeSchema) -> IdentityLabels:
        """Return the labels of no identity."""
        return cls.from_labels(schema, np.empty(0, dtype=np.int64), np.empty((0, len(schema)), dtype=np.int64))

    def expand(self, pids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the labels (N, n) int64 and `yes` (N, M) bool of the images of identities `pids` (N,) int64.

        An identity without annotation has -1 and False throughout.
        """
        # One extra row at the end stands for every identity without annotation.
        labels = np.vstack([self.labels, np.full((1, len(self.schema)), -1, dtype=np.int64)])
        yes = np.vstack([self.yes, np.zeros((1, self.schema.classes), dtype=np.bool_)])
        if not len(self.pids):
            rows: NDArray[np.int64] = np.zeros(len(pids), dtype=np.int64)
        else:
            places = np.minimum(np.searchsorted(self.pids, pids), len(self.pids) - 1)
            rows = np.where(self.pids[places] == pids, places, len(self.pids))
        return labels[rows], yes[rows]


def read_annotations(
    path: Path, schema: AttributeSchema, split: str, *, overrides: Mapping[tuple[int, str], str] | None = None
) -> IdentityLabels:
    """Read the annotations of one split, `train` or `test`.

    Value 0 of a field, and a colour group without any "yes", mean missing. `overrides` fills in values that are
    missing in the file: {(pid, attribute): value}.

    Raises:
        DatasetError: If the file is missing or broken, or a field is missing or has values outside the schema.
    """
    return _in_child(_read_annotations, path, schema, split, dict(overrides or {}))


def _read_annotations(
    path: Path, schema: AttributeSchema, split: str, overrides: Mapping[tuple[int, str], str]
) -> IdentityLabels:
    fields = _struct(_load(path), split, path)
    pids = _identities(fields, f"{path}, {split}")
    order = np.argsort(pids, kind="stable")
    yes = np.zeros((len(pids), schema.classes), dtype=np.bool_)
    labels = np.full((len(pids), len(schema)), -1, dtype=np.int64)
    for position, attribute in enumerate(schema.attributes):
        accepted = _accepted(fields, attribute, len(pids), f"{path}, {split}")
        yes[:, schema.slice(attribute.name)] = accepted
        labels[:, position] = np.where(accepted.any(axis=1), accepted.argmax(axis=1), -1)
    for (pid, name), value in overrides.items():
        rows = (pids == pid) & (labels[:, schema.index(name)] < 0)
        column = schema[name].values.index(value)
        labels[rows, schema.index(name)] = column
        yes[rows, schema.slice(name).start + column] = True
    return IdentityLabels(schema=schema, pids=pids[order], labels=labels[order], yes=yes[order])


def missing_fields(path: Path, schema: AttributeSchema) -> list[str]:
    """Return the fields of a schema that an annotation file does not have in both splits.

    Raises:
        DatasetError: If the file is missing or broken.
    """
    return _in_child(_missing_fields, path, schema)


def _missing_fields(path: Path, schema: AttributeSchema) -> list[str]:
    content = _load(path)
    splits = [_struct(content, split, path) for split in ("train", "test")]
    fields = [field for attribute in schema.attributes for field in attribute.fields]
    return [field for field in fields if any(field not in split for split in splits)]


def write_annotations(path: Path, splits: Mapping[str, IdentityLabels]) -> None:
    """Write annotations of `train` and `test` as the public files have them; what is missing reads back as missing."""
    content = {}
    for split, people in splits.items():
        fields: dict[str, NDArray[Any]] = {}
        for position, attribute in enumerate(people.schema.attributes):
            if attribute.multi_field:
                accepted = people.yes[:, people.schema.slice(attribute.name)]
                for value, field in enumerate(attribute.fields):
                    fields[field] = (accepted[:, value] + 1).astype(np.uint8)[None, :]
            else:
                fields[attribute.fields[0]] = (people.labels[:, position] + 1).astype(np.uint8)[None, :]
        names = np.empty((1, len(people.pids)), dtype=object)
        names[0, :] = [f"{pid:04d}" for pid in people.pids]
        content[split] = {**fields, "image_index": names}
    scipy.io.savemat(path, {VARIABLE: content})


def _in_child(function: Callable[..., Result], path: Path, *args: object) -> Result:
    """Call a function that reads a file with SciPy, which some broken files crash, in a child process."""
    try:
        return call(function, path, *args, name=str(path), memory_bytes=MEMORY_BYTES)
    except BadInput as error:
        raise DatasetError(error.detail) from None


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DatasetError(f"{path}: no such annotation file; copy it there")
    with path.open("rb") as file:
        if _HDF5 in file.read(520):
            raise DatasetError(
                f"{path}: a MATLAB 7.3 file, which is not read; load it in MATLAB or Octave and save it with option -v7"
            )
    try:
        content: dict[str, Any] = scipy.io.loadmat(path)
    except (*UNREADABLE, scipy.io.matlab.MatReadError) as error:
        raise DatasetError(f"{path}: not a MATLAB v5 file ({' '.join(str(error).split())})") from None
    return content


def _struct(content: Mapping[str, Any], split: str, path: Path) -> dict[str, Any]:
    """Return the fields of `<the one variable>.<split>` by name."""
    variables = [name for name in content if not name.startswith("__")]
    if len(variables) != 1:
        raise DatasetError(f"{path}: expected one struct with 'train' and 'test', not {variables or 'nothing'}")
    outer = content[variables[0]]
    if outer.dtype.names is None or split not in outer.dtype.names or outer.size != 1:
        raise DatasetError(f"{path}: {variables[0]!r} has no {split!r}; is this an attribute annotation?")
    inner = outer[split].item()
    if getattr(inner, "dtype", None) is None or inner.dtype.names is None or inner.size != 1:
        raise DatasetError(f"{path}: {variables[0]}.{split} is not a struct of annotation columns")
    return {name: inner[name].item() for name in inner.dtype.names}


def _identities(fields: Mapping[str, Any], where: str) -> NDArray[np.int64]:
    if "image_index" not in fields:
        raise DatasetError(f"{where}: field 'image_index' is missing")
    texts = [str(np.asarray(cell).reshape(-1)[0]) for cell in fields["image_index"].reshape(-1)]
    wrong = [text for text in texts if not text.isdigit()]
    if wrong:
        raise DatasetError(f"{where}: image_index holds {wrong[0]!r}, which is not an identity number")
    pids = np.array([int(text) for text in texts], dtype=np.int64)
    if len(np.unique(pids)) != len(pids):
        raise DatasetError(f"{where}: image_index names an identity twice")
    return pids


def _column(fields: Mapping[str, Any], field: str, count: int, largest: int, where: str) -> NDArray[np.int64]:
    if field not in fields:
        raise DatasetError(f"{where}: field {field!r} is missing")
    column = np.asarray(fields[field]).reshape(-1)
    if column.dtype.kind not in "iufb" or len(column) != count:
        raise DatasetError(f"{where}: field {field!r} must hold one number for each of the {count} identities")
    with np.errstate(invalid="ignore"):
        values = column.astype(np.int64)
    # A fraction or NaN differs from its whole number.
    outside = column[(values != column) | (values < 0) | (values > largest)]
    if len(outside):
        raise DatasetError(f"{where}: field {field!r} holds {outside[0]}, outside 0 (missing) to {largest}")
    return values


def _accepted(fields: Mapping[str, Any], attribute: Attribute, count: int, where: str) -> NDArray[np.bool_]:
    """(I, c) bool: the classes of `attribute` that the annotation accepts."""
    if attribute.multi_field:
        return np.stack([_column(fields, field, count, 2, where) == 2 for field in attribute.fields], axis=1)
    values = _column(fields, attribute.fields[0], count, len(attribute.values), where)
    return np.asarray(values[:, None] == np.arange(1, len(attribute.values) + 1), dtype=np.bool_)
