"""The vector index of one model of a store: its packs, which crops a search selects in them, and the cameras' bias."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vestigo.ranking.camera_bias import CameraBias
from vestigo.resolve import require_attributes
from vestigo.store.crops.repository import CropRepository
from vestigo.store.crops.visible import CropFilter
from vestigo.store.models.records import Model
from vestigo.vectors.pack import FACTS, ID_LENGTH, UNKNOWN_TIME, WORD_CLASSES, Pack, keys_of, map_pack
from vestigo.vectors.refresh import PackFile, camera_sums, open_packs, refresh_packs, vectors_folder
from vestigo_models.arrays import BoolArray, Float32Array, Int64Array, UInt64Array
from vestigo_models.attribute_filter.rule import class_bits
from vestigo_models.errors import StoreError
from vestigo_models.inference.distance import Descriptors
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.attributes import AttributeSchema

KEPT_OPEN = 2
RESIDENT = 1 << 29
"""Bytes of an index that stay in memory; the packs of a larger one are released one after the other."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_mapped: WeakValueDictionary[tuple[Path, int], Pack] = WeakValueDictionary()
"""Packs that this process has mapped, by path and time of change."""
_opened: OrderedDict[tuple[str, str], VectorIndex] = OrderedDict()
"""The last indexes that this process opened, by store and digest of the model."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Crops of a pack: all of them, or those at some rows."""

    pack: Pack
    rows: Int64Array | None = None  # (m,), ascending; None for all

    def __len__(self) -> int:
        return len(self.pack) if self.rows is None else len(self.rows)

    @property
    def ids(self) -> NDArray[np.bytes_]:
        """Ids, (m,)."""
        return self.pack.ids if self.rows is None else self.pack.ids[self.rows]

    def probabilities(self, column: int) -> Float32Array:
        """Return the probability of one attribute value, (m,)."""
        values = self.pack.probabilities[:, column]
        return values if self.rows is None else values[self.rows]

    def predictions(self, chosen: Int64Array | slice = slice(None)) -> tuple[UInt64Array, Float32Array]:
        """Return words of `predicted_words` and confidences of some of the crops."""
        rows = chosen if self.rows is None else self.rows[chosen]
        return self.pack.words[rows], self.pack.confidences[rows]

    def facts(self, names: Sequence[str]) -> pa.RecordBatch:
        """Return some `FACTS`."""
        rows = np.arange(len(self.pack)) if self.rows is None else self.rows
        return self.pack.facts(rows, names)

    def reliable_words(self, schema: AttributeSchema, threshold: float, names: Sequence[str]) -> UInt64Array:
        """Return the words of `vestigo_models.attribute_filter.rule.encode_predictions`, (m,)."""
        words = self.pack.reliable_words(schema, threshold, names)
        return words if self.rows is None else words[self.rows]


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorIndex:
    """The visible crops of a model at one moment."""

    model: Model
    packs: tuple[Pack, ...]
    bias: CameraBias
    offsets: Mapping[str, timedelta]  # Clock offsets by camera
    is_large: bool  # Whether packs are released after use
    state: str  # Of the store, when the index was opened
    files: tuple[PackFile, ...]

    @classmethod
    def open(
        cls, ref: str, crops: CropRepository, model: Model, progress: ProgressCallback = ignore_progress
    ) -> VectorIndex:
        """Bring the index of a model up to date and map it, with progress in crops that are read for it.

        The last indexes stay open: one is returned again as long as neither the store nor the index's files change.

        Raises:
            StoreError: If a file of the store cannot be read, or the index cannot be written.
        """
        state, folder = crops.state(), vectors_folder(ref)
        known = _opened.get((ref, model.digest))
        if known is not None and known.state == state and all(file.is_intact(folder) for file in known.files):
            return known
        index = open_packs(ref)
        try:
            while True:
                files = sorted(refresh_packs(crops, index, model, progress), key=lambda file: min(file.units))
                try:
                    packs = tuple(_map(folder, file, model) for file in files if file.bytes)
                except FileNotFoundError:
                    # Another process has replaced a pack since.
                    continue
                except OSError as error:
                    raise StoreError(f"vector index {folder} cannot be read: {error.strerror}") from error
                break
            sums = camera_sums(index, files)
        finally:
            index.close()
        opened = cls(
            model=model,
            packs=packs,
            bias=CameraBias.of(sums, model.facts.blocks),
            offsets=crops.clock_offsets(),
            is_large=sum(file.bytes for file in files) > RESIDENT,
            state=state,
            files=tuple(files),
        )
        _opened[ref, model.digest] = opened
        while len(_opened) > KEPT_OPEN:
            _opened.popitem(last=False)
        return opened

    def __len__(self) -> int:
        return sum(map(len, self.packs))

    def select(self, crop_filter: CropFilter, where: Mapping[str, str]) -> Iterator[Selection]:
        """Yield the crops that a filter admits and whose predicted values are those of `where`, for each pack.

        Raises:
            UsageError: If `where` has conditions and the model predicts no attributes.
            StoreError: If crops lack attributes that their model predicts.
        """
        if where:
            require_attributes(self.model)
        for pack in self.packs:
            yield Selection(pack=pack, rows=self._rows(pack, crop_filter, where))

    def find(self, ids: Sequence[str]) -> list[tuple[Pack, int]]:
        """Return the pack and the row of each crop.

        Raises:
            StoreError: If the model has no such crop.
        """
        wanted = np.array([crop.encode() for crop in ids], f"S{ID_LENGTH}")
        found: list[tuple[Pack, int] | None] = [None] * len(ids)
        if len(ids) and all(len(crop) == ID_LENGTH for crop in ids):
            keys = keys_of(wanted)
            for pack in self.packs:
                for number, row in zip(*pack.find(wanted, keys), strict=True):
                    found[number] = found[number] or (pack, int(row))
        places = [place for place in found if place is not None]
        if len(places) < len(ids):
            unknown = ids[found.index(None)]
            raise StoreError(f"crop {unknown} is not in the store: `vestigo search` names crops that are")
        return places

    def descriptors(self, ids: Sequence[str]) -> Descriptors:
        """Return the descriptors of crops, at least one, without the bias of their cameras."""
        parts, order = [], []
        for pack, numbers, rows in self._by_pack(ids):
            parts.append(pack.crops.descriptors(rows, self.bias))
            order.append(numbers)
        return Descriptors.joined(parts)[np.argsort(np.concatenate(order))]

    def probabilities(self, ids: Sequence[str]) -> Float32Array:
        """Return the attribute probabilities of crops, at least one."""
        return np.stack([pack.probabilities[row] for pack, row in self.find(ids)])

    def rows(self, ids: Sequence[str], names: Sequence[str] = FACTS) -> list[dict[str, Any]]:
        """Return `crop_id`, `camera`, `time`, some other facts and `attributes` of crops, in their order.

        Times are corrected.
        """
        rows: list[dict[str, Any]] = [{} for _ in ids]
        for pack, numbers, at in self._by_pack(ids):
            facts = pack.facts(at, tuple(dict.fromkeys((*names, "camera")))).to_pylist()
            columns = zip(numbers, facts, pack.times[at].tolist(), pack.probabilities[at].tolist(), strict=True)
            for number, fact, time, probabilities in columns:
                # Not by Arrow, which loads pandas for times.
                fact["time"] = None
                if time != UNKNOWN_TIME:
                    offset = self.offsets.get(fact["camera"], timedelta())
                    fact["time"] = EPOCH + timedelta(microseconds=time) + offset
                rows[number] = {"crop_id": ids[number], **fact, "attributes": probabilities}
        return rows

    def positions(self, ids: Sequence[str]) -> dict[int, list[int]]:
        """Return the rows of crops in the store's files, by id of file."""
        positions: dict[int, list[int]] = {}
        for pack, row in self.find(ids):
            positions.setdefault(int(pack.files[row]), []).append(int(pack.places[row]))
        return positions

    def count_without_time(self, cameras: Collection[str] | None) -> int:
        """Return the number of crops of some cameras, None for all, that have no time."""
        return sum(
            int((pack.times[rows] == UNKNOWN_TIME).sum())
            for pack in self.packs
            for camera, rows in pack.crops.cameras
            if cameras is None or camera in cameras
        )

    def release(self, pack: Pack) -> None:
        """Give memory back after a pack was read, if the index is large."""
        if self.is_large:
            pack.release()

    def _by_pack(self, ids: Sequence[str]) -> Iterator[tuple[Pack, Int64Array, Int64Array]]:
        """Yield packs, with the numbers in `ids` of the crops that are in it, and their rows, ascending."""
        places = self.find(ids)
        by_pack: dict[str, list[int]] = {}
        for number, (pack, _) in enumerate(places):
            by_pack.setdefault(pack.name, []).append(number)
        for numbers in by_pack.values():
            rows = np.array([places[number][1] for number in numbers])
            order = np.argsort(rows, kind="stable")
            yield places[numbers[0]][0], np.array(numbers)[order], rows[order]

    def _rows(self, pack: Pack, crop_filter: CropFilter, where: Mapping[str, str]) -> Int64Array | None:
        restricted = (crop_filter.cameras, crop_filter.since, crop_filter.until) != (None, None, None)
        if not where and not restricted:
            return None
        keep = self._meets(pack, where) if where else np.ones(len(pack), np.bool_)
        for camera, rows in pack.crops.cameras if restricted else ():
            if crop_filter.cameras is not None and camera not in crop_filter.cameras:
                keep[rows] = False
            elif crop_filter.since is not None or crop_filter.until is not None:
                keep[rows] &= self._in_time(pack.times[rows], camera, crop_filter)
        return None if keep.all() else np.flatnonzero(keep)

    def _in_time(self, times: Int64Array, camera: Hashable, crop_filter: CropFilter) -> BoolArray:
        offset = self.offsets.get(str(camera), timedelta())
        keep: BoolArray = times != UNKNOWN_TIME
        if crop_filter.since is not None:
            keep &= times >= _microseconds(crop_filter.since - offset)
        if crop_filter.until is not None:
            keep &= times < _microseconds(crop_filter.until - offset)
        return keep

    def _meets(self, pack: Pack, where: Mapping[str, str]) -> BoolArray:
        schema = require_attributes(self.model)
        require_predictions(pack, self.model)
        if schema.classes <= WORD_CLASSES:
            bits = class_bits(where, schema)
            return np.asarray(np.equal(pack.words & bits, bits), np.bool_)
        meets = [
            pack.probabilities[:, schema.slice(name)].argmax(axis=1) == schema[name].values.index(value)
            for name, value in where.items()
        ]
        return np.asarray(np.all(meets, axis=0))


def require_predictions(pack: Pack, model: Model) -> None:
    """Raise an error if the crops of a pack lack attributes that their model predicts.

    Raises:
        StoreError: If they lack them.
    """
    schema = require_attributes(model)
    if pack.probabilities.shape[1] != schema.classes:
        raise StoreError(
            f"crops of model {model.name} lack the {schema.classes} attribute classes of its schema {schema.name}: run "
            "`vestigo store check`, or index again"
        )


def _map(folder: Path, file: PackFile, model: Model) -> Pack:
    path = folder / file.name
    pack = _mapped.get((path, file.modified))
    if pack is None:
        try:
            pack = map_pack(path, model.facts)
        except (ValueError, KeyError, pa.ArrowException):
            # It is as it was written, but not a pack that this version reads: it is made again.
            path.unlink(missing_ok=True)
            raise FileNotFoundError(path) from None
        _mapped[path, file.modified] = pack
    return pack


def _microseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)
