"""Rough distances of queries from crops by products of bfloat16 numbers, and how far they may be from the exact ones.

The distance is equation 14 of descriptors without the bias of their cameras, as in docs/method.md, "Distance" and
"Camera bias". The bias is not removed from the crops but folded into the products, block by block: with a query's block
q, a crop's x and its camera's offset o, the cosine is (q x - q o) / |x - o|, and |x - o|^2 = 1 - 2 o x + |o|^2. So the
crops are read once, at two bytes a number.

Symbols: Q queries, n crops of one camera, B blocks, D numbers of a descriptor.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import numkong
import numpy as np

from vestigo.ranking.camera_bias import CameraBias
from vestigo.ranking.halves import UPPER_ERROR, HalvedDescriptors, block_slices, upper_half
from vestigo_models.arrays import BoolArray, Float32Array, Int32Array, Int64Array, UInt16Array
from vestigo_models.inference.distance import Descriptors, packed, part_visible_distance, unpacked

FEW_QUERIES = 4
"""So many queries are multiplied as sums of two bfloat16 numbers, which costs no time: their rounding then vanishes."""
MANY_QUERIES = 32
"""More queries than this are compared with whole float32 numbers: then multiplying takes the time, not reading."""
ROWS_AT_ONCE = 1024
"""Crops that are copied at a time."""
NUMBERS_AT_ONCE = 1 << 17
"""Products that are held at a time: what is computed from them then stays in memory that is used again and again."""
DENSE = 0.2
"""From this share of the crops of a camera on, all of them are multiplied instead of copying some."""
LEAST_SQUARE = 0.1
"""Blocks whose squared distance from their camera's offset may be smaller have no rough cosine."""
UNKNOWN_ERROR = 1.05
"""Error of a cosine that is taken as 0."""
CAMERAS_AT_ONCE = 8
"""Cameras of which some crops are compared together."""
OFFSET_TERMS = 2
"""Columns of an offset."""
SLACK = 1.05
"""For what the bounds leave out: products of errors, and lengths of blocks that differ from 1 by float32 rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraRows:
    """Descriptors of n crops, those of a camera one after the other."""

    crops: HalvedDescriptors
    cameras: Sequence[tuple[Hashable, slice]]  # Name and rows of each camera, in order

    def segments(self, rows: Int64Array | None) -> Iterator[tuple[Hashable, slice, Int64Array | None]]:
        """Yield cameras that have some of the ascending `rows`, None for all: name, its rows, and those of `rows`."""
        for camera, segment in self.cameras:
            inside = None if rows is None else rows[slice(*np.searchsorted(rows, (segment.start, segment.stop)))]
            if segment.stop > segment.start and (inside is None or len(inside)):
                yield camera, segment, inside

    def descriptors(self, rows: Int64Array, bias: CameraBias) -> Descriptors:
        """Return the descriptors of some crops, ascending, without the bias of their cameras."""
        ends = [segment.stop for _, segment in self.cameras]
        bounds = np.searchsorted(rows, ends).tolist()
        names = [camera for camera, _ in self.cameras]
        parts = {name: np.arange(start, end) for name, start, end in zip(names, (0, *bounds), bounds, strict=False)}
        return bias.remove_by_rows(self.crops.take(rows), parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class RoughDistances:
    """Distances of Q queries from m crops."""

    distances: Float32Array  # (Q, m)
    margin: Float32Array  # (m,), largest difference from the exact distance
    read: int  # Crops that were multiplied


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryFactors:
    """Q queries as factors of products with crops of cameras of known bias."""

    queries: Descriptors
    bias: CameraBias
    _packed: dict[tuple[Hashable, ...], _Factors] = field(default_factory=dict)
    _of_thread: threading.local = field(default_factory=threading.local)

    def compare(self, gallery: CameraRows, rows: Int64Array | None = None) -> RoughDistances:
        """Compare the queries with all crops, or with those at some ascending `rows`."""
        count = len(gallery.crops) if rows is None else len(rows)
        distances = np.empty((len(self.queries), count), np.float32)
        margin = np.empty(count, np.float32)
        read = first = 0
        sparse: list[tuple[Hashable, Int64Array, int]] = []
        for camera, segment, inside in gallery.segments(rows):
            if inside is not None and len(inside) < DENSE * (segment.stop - segment.start):
                sparse.append((camera, inside, first))
                read += len(inside)
                first += len(inside)
                continue
            chosen = slice(None) if inside is None else inside - segment.start
            of_segment, margins = self._factors((camera,), gallery.crops).compare(gallery.crops, segment)
            found = of_segment[:, chosen], margins[chosen]
            read += segment.stop - segment.start
            place = slice(first, first := first + len(found[1]))
            distances[:, place], margin[place] = found
        for cameras, inside, codes, places in _chunks(sparse):
            copied = gallery.crops.select(inside, self._buffers(gallery.crops))
            factors = self._factors(cameras, gallery.crops)
            distances[:, places], margin[places] = factors.compare(copied, slice(0, len(copied)), codes)
        return RoughDistances(distances=distances, margin=margin, read=read)

    def _buffers(self, crops: HalvedDescriptors) -> list[UInt16Array]:
        """Return memory for the upper halves of some crops, the same one for each call of a thread."""
        if not hasattr(self._of_thread, "buffers"):
            self._of_thread.buffers = [np.empty((ROWS_AT_ONCE, block.shape[1]), np.uint16) for block in crops.upper]
        buffers: list[UInt16Array] = self._of_thread.buffers
        return buffers

    def compare_whole(self, crops: Descriptors) -> RoughDistances:
        """Compare the queries with n crops that have no bias, in float32."""
        distances = np.empty((len(self.queries), len(crops)), np.float32)
        for start in range(0, len(crops), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            distances[:, part] = part_visible_distance(self.queries, crops[part])
        # |computed - true| <= gamma_D sum |x_b| |y_b| over the blocks b, gamma_D = D u, u = 2^-24. Blocks have length
        # 1, or 0 where a part is not visible, so the sum is the number of terms that the product is divided by. Two u
        # more for dividing and subtracting; twice all of it for the difference of the blocks' lengths from 1.
        margin = np.full(len(crops), 2.0 * (self.queries.vectors.shape[1] + 2) * 2.0**-24, np.float32)
        return RoughDistances(distances=distances, margin=margin, read=len(crops))

    def _factors(self, cameras: tuple[Hashable, ...], crops: HalvedDescriptors) -> _Factors:
        known = tuple(camera if camera in self.bias.offsets else None for camera in cameras)
        if known not in self._packed:
            # A camera without bias has no offset.
            nothing = np.zeros(self.queries.vectors.shape[1], np.float32)
            offsets = [self.bias.offsets.get(camera, nothing) for camera in known]
            blocks = [block.shape[1] for block in crops.upper]
            self._packed[known] = _Factors.of(self.queries, np.stack(offsets) if self.bias.offsets else None, blocks)
        return self._packed[known]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Factors:
    """Queries and the offsets of C cameras as factors."""

    # Of each block: the queries, and the offsets in the last columns
    matrices: tuple[numkong.PackedMatrix, ...]
    terms: int  # Columns of a query
    visible: Int32Array  # (Q,), bits of the queries' visible parts
    always: int
    # q o of each block, (B, C, Q) float32, and |o|, (B, C) float32; None if no camera has bias
    offsets: tuple[Float32Array, Float32Array] | None
    lost: Float32Array  # (B,), largest length that the terms of a query's block lack
    rounding: float  # Bounds the error of a sum of D products in float32, in any order

    @classmethod
    def of(cls, queries: Descriptors, offsets: Float32Array | None, blocks: Sequence[int]) -> _Factors:
        terms = 2 if len(queries) <= FEW_QUERIES else 1
        vectors = np.asarray(queries.vectors, np.float32)
        columns, rest = _terms(vectors, terms)
        slices = block_slices(blocks, vectors.shape[1])
        folded = None
        if offsets is not None:
            columns += _terms(offsets, OFFSET_TERMS)[0]
            exact = [offsets[:, part].astype(np.float64) @ vectors[:, part].T for part in slices]
            lengths = [np.linalg.norm(offsets[:, part].astype(np.float64), axis=1) for part in slices]
            folded = np.array(exact, np.float32), np.array(lengths, np.float32)
        matrix = np.concatenate(columns)
        return cls(
            matrices=tuple(
                numkong.dots_pack(_tensor(np.ascontiguousarray(matrix[:, part])), "bfloat16") for part in slices
            ),
            terms=terms,
            visible=packed(queries.visible),
            always=queries.always,
            offsets=folded,
            lost=np.array([np.linalg.norm(rest[:, part], axis=1).max(initial=0) for part in slices], np.float32),
            rounding=2 * (vectors.shape[1] + 8) * 2.0**-24,
        )

    def compare(
        self, crops: HalvedDescriptors, rows: slice, cameras: Int64Array | None = None
    ) -> tuple[Float32Array, Float32Array]:
        """Return rough distances (Q, n) from some crops, and their margins (n,).

        `cameras` (n,) are the numbers of the crops' cameras, None if there is one.
        """
        bits = crops.visible[rows]
        distances = np.empty((len(self.visible), len(bits)), np.float32)
        margin = np.empty(len(bits), np.float32)
        cameras_known = 0 if self.offsets is None else self.offsets[1].shape[1]
        width = self.terms * len(self.visible) + OFFSET_TERMS * cameras_known
        size = max(1, NUMBERS_AT_ONCE // (width * len(self.matrices)))
        errors = self._errors(crops)
        for start in range(0, len(bits), size):
            part = slice(start, min(start + size, len(bits)))
            of_crops = slice(rows.start + part.start, rows.start + part.stop)
            products = self._multiply([block[of_crops] for block in crops.upper], width)
            codes = None if cameras is None else cameras[part]
            similarity, margin[part] = self._similarity(products, codes, _shown(bits[part], crops), errors)
            shared = np.bitwise_count(self.visible[:, None] & bits[part]) + np.float32(self.always)
            np.subtract(1, similarity / shared, out=distances[:, part])
        return distances, margin

    def _multiply(self, blocks: Sequence[UInt16Array], width: int) -> Float32Array:
        """Return the products (B, n, W) of the upper halves of n crops with the W columns."""
        products = np.empty((len(blocks), len(blocks[0]), width), np.float32)
        for block, matrix, out in zip(blocks, self.matrices, products, strict=True):
            numkong.dots_packed(_tensor(block), matrix, out=_tensor(out))
        return products

    def _errors(self, crops: HalvedDescriptors) -> tuple[Float32Array, Float32Array]:
        """Bound the errors of products with blocks of length 1, (B, 1): of the queries, and of an offset."""
        if len(self.matrices) < crops.always + crops.parts:
            # One vector of blocks of unknown lengths: of each number at most its share is lost.
            crop, query = [UPPER_ERROR], [UPPER_ERROR**self.terms]
        else:
            crop, query = list(crops.errors), self.lost.tolist()
        of_queries = np.add(crop, query) + self.rounding
        of_offset = np.add(crop, UPPER_ERROR**OFFSET_TERMS) + self.rounding
        return (SLACK * of_queries).astype(np.float32)[:, None], (SLACK * of_offset).astype(np.float32)[:, None]

    def _similarity(
        self,
        products: Float32Array,
        cameras: Int64Array | None,
        shown: BoolArray,
        errors: tuple[Float32Array, Float32Array],
    ) -> tuple[Float32Array, Float32Array]:
        """Return the sums over the blocks of the cosines (Q, n), and the largest error of a cosine (n,)."""
        count = len(self.visible)
        cosines = products[..., :count]
        if self.terms == 2:
            cosines = cosines + products[..., count : 2 * count]
        of_queries, of_offset = errors
        if self.offsets is None:
            return cosines.sum(axis=0).T, (shown * of_queries).max(axis=0)
        folded, lengths = self.offsets
        first, second = self.terms * count, self.terms * count + lengths.shape[1]
        if cameras is None:
            of_offsets = products[..., first] + products[..., second]
        else:
            crops = np.arange(len(cameras))
            of_offsets = products[:, crops, first + cameras] + products[:, crops, second + cameras]
            folded, lengths = folded[:, cameras], lengths[:, cameras]
        squares = 1 - 2 * of_offsets + lengths * lengths
        least = squares - 2 * of_offset * lengths
        is_known = shown & (least >= LEAST_SQUARE)
        least = np.maximum(least, LEAST_SQUARE)
        scale = is_known / np.sqrt(np.maximum(squares, LEAST_SQUARE))
        cosines = (cosines - folded) * scale[..., None]
        # For v = x - o, of which only norm is known: |q x - product| / |v|, and |q v| |1 / |v| - 1 / norm|.
        largest = SLACK * (of_queries / np.sqrt(least) + of_offset * lengths / least) * is_known
        unknown = shown & ~is_known
        if unknown.any():
            largest[unknown] = UNKNOWN_ERROR
        return cosines.sum(axis=0).T, largest.max(axis=0)


def _chunks(
    sparse: Sequence[tuple[Hashable, Int64Array, int]],
) -> Iterator[tuple[tuple[Hashable, ...], Int64Array, Int64Array, Int64Array]]:
    """Join some rows of several cameras, at most `ROWS_AT_ONCE` rows of `CAMERAS_AT_ONCE` cameras.

    Args:
        sparse: Cameras, some of their rows, and the place of the first one in the result.

    Yields:
        Cameras; n rows; the number of each row's camera; and their places.
    """
    pieces = [
        (camera, rows[start : start + ROWS_AT_ONCE], place + start)
        for camera, rows, place in sparse
        for start in range(0, len(rows), ROWS_AT_ONCE)
    ]
    while pieces:
        ends = np.cumsum([len(rows) for _, rows, _ in pieces[:CAMERAS_AT_ONCE]])
        count = max(1, int(np.searchsorted(ends, ROWS_AT_ONCE, side="right")))
        cameras, rows, places = zip(*pieces[:count], strict=True)
        sizes = [len(some) for some in rows]
        yield (
            cameras,
            np.concatenate(rows),
            np.repeat(np.arange(count), sizes),
            np.concatenate([np.arange(place, place + size) for place, size in zip(places, sizes, strict=True)]),
        )
        pieces = pieces[count:]


def _shown(bits: Int32Array, crops: HalvedDescriptors) -> BoolArray:
    """Return which blocks n crops show, (B, n); all of them if the lengths of the blocks are unknown."""
    shown = np.ones((len(crops.upper), len(bits)), np.bool_)
    if len(shown) == crops.always + crops.parts:
        shown[crops.always :] = unpacked(bits, crops.parts).T
    return shown


def _terms(vectors: Float32Array, count: int) -> tuple[list[UInt16Array], Float32Array]:
    """Return bfloat16 numbers, as bits, that add up to the vectors but for a rest, and the rest."""
    terms, rest = [], vectors
    for _ in range(count):
        terms.append(upper_half(rest))
        rest = rest - (terms[-1].astype(np.uint32) << 16).view(np.float32)
    return terms, rest


def _tensor(array: UInt16Array | Float32Array) -> numkong.Tensor:
    """Return a view of bits of bfloat16 numbers, or of float32 numbers, as the library reads them."""
    # Several times as fast as `array.ctypes.data`.
    address, shape, strides = array.__array_interface__["data"][0], array.shape, array.strides
    if array.dtype == np.uint16:
        return numkong.from_pointer(address, shape, "bfloat16", strides=strides, owner=array)
    return numkong.from_pointer(address, shape, "float32", strides=strides, owner=array)
