"""A pack: some thousand crops of one model in a file that is mapped into memory, as a search reads them.

The file is an Arrow file of one record batch without compression, so that its columns are arrays in place. Descriptors
are in two halves, the upper ones block by block; the crops of a camera follow each other in the order of their files.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vestigo.ranking.halves import HalvedDescriptors
from vestigo.ranking.products import CameraRows
from vestigo.store.models.records import Model, ModelFacts
from vestigo.store.parquet.descriptors import descriptors_of, matrix
from vestigo.store.parquet.schemas import EMBEDDING
from vestigo_models.arrays import Float32Array, Int64Array, UInt64Array
from vestigo_models.attribute_filter.rule import confidences, predicted_words, reliable_words
from vestigo_models.errors import StoreError
from vestigo_models.schemas.attributes import AttributeSchema

VERSION = 1
ID_LENGTH = 20
WORD_CLASSES = 64
WORDS_KEPT = 3
"""Thresholds whose words stay in memory: 8 bytes a crop."""
UNKNOWN_TIME = np.iinfo(np.int64).min
NAMES = ("camera", "tracklet", "source", "input")
"""Columns of repeated names."""
FACTS = (*NAMES, "frame", "offset_s", "dhash", "pid")
"""Columns of crop files that a pack has as they are."""
COLUMNS = ("crop_id", "time", *FACTS, "visible", "attributes", EMBEDDING)
"""Columns of crop files that a pack is made of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pack:
    """n crops of a model."""

    name: str
    ids: NDArray[np.bytes_]  # (n,)
    crops: CameraRows
    files: Int64Array  # (n,), id of the file of each crop
    places: Int64Array  # (n,), row in it
    times: Int64Array  # (n,), microseconds as recorded, or `UNKNOWN_TIME`
    probabilities: Float32Array  # (n, M); M = 0 without attributes
    confidences: Float32Array  # (n, attributes)
    words: UInt64Array  # (n,), of `predicted_words`; zeros if the schema has too many classes for them
    keys: UInt64Array  # (n,), first 16 digits of the ids, ascending
    key_rows: Int64Array  # (n,), their rows
    batch: pa.RecordBatch  # `FACTS`
    memory: mmap.mmap | None = None
    _reliable: dict[tuple[float, tuple[str, ...]], UInt64Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: NDArray[np.bytes_], keys: UInt64Array) -> tuple[Int64Array, Int64Array]:
        """Return which of m ids, with their keys, the pack has, and their rows."""
        places = np.searchsorted(self.keys, keys)
        found: list[tuple[int, int]] = []
        for number in np.flatnonzero(self.keys[np.minimum(places, len(self) - 1)] == keys):
            # Few ids share a key.
            for place in range(places[number], len(self)):
                if self.keys[place] != keys[number]:
                    break
                if self.ids[self.key_rows[place]] == ids[number]:
                    found.append((int(number), int(self.key_rows[place])))
        numbers, rows = np.array(found, np.int64).reshape(-1, 2).T
        return numbers, rows

    def facts(self, rows: Int64Array, names: Sequence[str]) -> pa.RecordBatch:
        """Return some `FACTS` of some crops."""
        # Not by `pa.array`, which loads pandas.
        numbers = np.ascontiguousarray(rows, np.int64)
        indices = pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])
        return self.batch.select(list(names)).take(indices)

    def reliable_words(self, schema: AttributeSchema, threshold: float, names: Sequence[str]) -> UInt64Array:
        """Return the words of `vestigo_models.attribute_filter.rule.encode_predictions`, (n,), and keep them."""
        key = (threshold, tuple(names))
        words = self._reliable.get(key)
        if words is None:
            words = reliable_words(self.words, self.confidences, schema, threshold, names)
            while len(self._reliable) >= WORDS_KEPT:
                self._reliable.pop(next(iter(self._reliable)), None)
            self._reliable[key] = words
        return words

    def release(self) -> None:
        """Give the memory of the mapped file back; what is read again comes from the system's cache, or the disk."""
        if self.memory is not None:
            self.memory.madvise(mmap.MADV_DONTNEED)


def keys_of(ids: NDArray[np.bytes_]) -> UInt64Array:
    """Return the first 16 digits of n hexadecimal ids as numbers, (n,).

    Raises:
        StoreError: If an id is not of 20 hexadecimal digits.
    """
    digits = ids.astype(f"S{ID_LENGTH}").tobytes()
    try:
        raw = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raw = b""
    if len(raw) != len(ids) * ID_LENGTH // 2:
        raise StoreError(
            f"crop ids such as {ids[0].decode()} are not {ID_LENGTH} hex digits: run `vestigo store check`"
        )
    return np.frombuffer(raw, np.uint8).reshape(len(ids), -1)[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)


def pack_table(table: pa.Table, model: Model) -> pa.RecordBatch:
    """Return the record batch of a pack.

    Args:
        table: `COLUMNS` of n >= 1 crops, and the columns `file` and `place`, integers.
        model: The model that made them.

    Raises:
        StoreError: If descriptors are of another length than the model's, or an id is malformed.
    """
    cameras = _names(table.column("camera"))
    order = np.argsort(cameras.indices.to_numpy(), kind="stable")
    if not (order == np.arange(len(order))).all():
        table = table.take(pa.array(order))
    cameras = _names(table.column("camera"))
    ids = np.array(table.column("crop_id").to_pylist(), f"S{ID_LENGTH}")
    keys = keys_of(ids)
    order = np.argsort(keys, kind="stable")
    facts = model.facts
    embeddings, visible = (table.column(name).combine_chunks() for name in (EMBEDDING, "visible"))
    descriptors = descriptors_of(embeddings, visible, facts)
    if facts.blocks and descriptors.vectors.shape[1] != sum(facts.blocks):
        raise StoreError(
            f"crops of model {model.name} have descriptors of {descriptors.vectors.shape[1]} numbers, the model makes "
            f"{sum(facts.blocks)}: run `vestigo store check`, or index again"
        )
    halves = HalvedDescriptors.of(descriptors, facts.blocks)
    del descriptors, embeddings
    predictions = _predictions(table.column("attributes").combine_chunks(), facts)
    columns: dict[str, Any] = {
        "id": pa.array(ids.tolist(), pa.binary(ID_LENGTH)),
        "file": table.column("file").cast(pa.int64()).combine_chunks(),
        "place": table.column("place").cast(pa.int64()).combine_chunks(),
        "moment": table.column("time").cast(pa.int64()).fill_null(UNKNOWN_TIME).combine_chunks(),
        "key": keys[order],
        "key_row": order.astype(np.int64),
        "shown": halves.visible,
        "lower": _rows(halves.lower),
        **{f"upper{number}": _rows(block) for number, block in enumerate(halves.upper)},
        **{name: _names(table.column(name)) for name in NAMES},
        **{name: table.column(name).combine_chunks() for name in FACTS if name not in NAMES},
        **{name: _rows(table) if table.ndim == 2 else table for name, table in predictions.items()},
    }
    counts = np.bincount(cameras.indices.to_numpy(), minlength=len(cameras.dictionary)).tolist()
    metadata = {"version": VERSION, "cameras": list(zip(cameras.dictionary.to_pylist(), counts, strict=True))}
    metadata |= {"errors": halves.errors, "parts": halves.parts, "always": halves.always}
    metadata |= {name: table.shape[1] for name, table in predictions.items() if table.ndim == 2}
    batch = pa.RecordBatch.from_pydict(columns)
    return batch.replace_schema_metadata({"vestigo": json.dumps(metadata)})


def write_pack(path: Path, batch: pa.RecordBatch) -> os.stat_result:
    """Write a pack, complete and durable, readable by its owner only; return the state of the file."""
    partial = path.with_name(path.name + ".part")
    size = pa.MockOutputStream()
    _write(size, batch)
    content = pa.allocate_buffer(size.size())
    _write(pa.FixedSizeBufferWriter(content), batch)
    try:
        with open(partial, "wb", 0, opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
            # Written at once, the system holds it in large pages, which costs a search almost no page faults.
            rest = memoryview(content)
            while rest:
                rest = rest[stream.write(rest) :]
            os.fsync(stream.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.rename(path)
    return path.stat()


def _write(stream: pa.NativeFile, batch: pa.RecordBatch) -> None:
    with pa.ipc.new_file(stream, batch.schema) as writer:
        writer.write_batch(batch)


def map_pack(path: Path, facts: ModelFacts) -> Pack:
    """Map the file of a pack.

    Raises:
        OSError, ValueError: If the file does not exist, or is not a pack of this version.
    """
    with open(path, "rb") as stream:
        memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Large pages also for what comes back from the disk, where the system has them.
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    # pa.ArrowInvalid, which broken files raise, is a ValueError.
    batch = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(memory))).get_batch(0)
    return as_pack(batch, facts, path.name, memory)


def as_pack(batch: pa.RecordBatch, facts: ModelFacts, name: str = "", memory: mmap.mmap | None = None) -> Pack:
    """Return the record batch of `pack_table` as arrays in place.

    Raises:
        ValueError: If it is not of this version.
    """
    metadata = json.loads((batch.schema.metadata or {}).get(b"vestigo", b"{}"))
    if metadata.get("version") != VERSION:
        raise ValueError(f"{name} is not a pack of version {VERSION}")
    cameras, first = [], 0
    for camera, count in metadata["cameras"]:
        cameras.append((camera, slice(first, first := first + count)))
    halves = HalvedDescriptors(
        upper=tuple(_matrix(batch.column(f"upper{number}"), np.uint16) for number in range(len(facts.blocks) or 1)),
        lower=_matrix(batch.column("lower"), np.int16),
        visible=_numbers(batch.column("shown"), np.int32),
        parts=metadata["parts"],
        always=metadata["always"],
        errors=tuple(metadata["errors"]),
    )
    return Pack(
        name=name,
        ids=np.frombuffer(batch.column("id").buffers()[1], f"S{ID_LENGTH}", batch.num_rows),
        crops=CameraRows(crops=halves, cameras=cameras),
        files=_numbers(batch.column("file"), np.int64),
        places=_numbers(batch.column("place"), np.int64),
        times=_numbers(batch.column("moment"), np.int64),
        probabilities=_matrix(batch.column("probabilities"), np.float32)[:, : metadata["probabilities"]],
        confidences=_matrix(batch.column("confidences"), np.float32)[:, : metadata["confidences"]],
        words=_numbers(batch.column("word"), np.uint64),
        keys=_numbers(batch.column("key"), np.uint64),
        key_rows=_numbers(batch.column("key_row"), np.int64),
        batch=batch.select(list(FACTS)),
        memory=memory,
    )


def _predictions(lists: pa.Array, facts: ModelFacts) -> dict[str, NDArray[Any]]:
    """Return probabilities (n, M), confidences (n, attributes) and words (n,) of n crops."""
    schema = facts.attributes
    words: UInt64Array = np.zeros(len(lists), np.uint64)
    if schema is None or not pc.all(pc.equal(pc.list_value_length(lists), schema.classes)).as_py():
        nothing = np.empty((len(lists), 0), np.float32)
        return {"probabilities": nothing, "confidences": nothing, "word": words}
    probabilities = matrix(lists)
    if schema.classes <= WORD_CLASSES:
        words = predicted_words(probabilities, schema)
    return {"probabilities": probabilities, "confidences": confidences(probabilities, schema), "word": words}


def _names(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return column.combine_chunks().fill_null("").dictionary_encode()


def _rows(table: NDArray[Any]) -> pa.FixedSizeListArray:
    """Return a table (n, width) as a column; one of width 0 has a zero in each row."""
    if not table.shape[1]:
        table = np.zeros((len(table), 1), table.dtype)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(table).reshape(-1)), table.shape[1])


def _numbers(column: pa.Array, dtype: type[np.generic]) -> NDArray[Any]:
    """Return a column without nulls in place; not by `to_numpy`, which loads pandas."""
    return np.frombuffer(column.buffers()[1], dtype, len(column), column.offset * np.dtype(dtype).itemsize)


def _matrix(column: pa.FixedSizeListArray, dtype: type[np.generic]) -> NDArray[Any]:
    """Return a column of `_rows` in place."""
    return _numbers(column.flatten(), dtype).reshape(len(column), -1)
