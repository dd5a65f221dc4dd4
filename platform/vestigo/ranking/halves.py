"""Float32 numbers in two halves of 16 bits: the nearest bfloat16, and what is missing to the number.

Products of the upper halves screen pairs at half of the bytes. Both halves give the numbers back bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vestigo_models.arrays import Float32Array, Int16Array, Int32Array, Int64Array, UInt16Array
from vestigo_models.inference.distance import Descriptors, packed, unpacked

UPPER_ERROR = 2.0**-8
"""Largest difference of a number from its upper half, relative to the number: a bfloat16 has 8 significant bits."""
_HALF = np.uint32(1 << 15)


def upper_half(numbers: Float32Array) -> UInt16Array:
    """Return the nearest bfloat16 of each number, as its bits; numbers that are not finite may change."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return ((bits + _HALF) >> 16).astype(np.uint16)


def lower_half(numbers: Float32Array, upper: UInt16Array) -> Int16Array:
    """Return what is missing in the upper halves, in units of the last place of each number."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    # In arithmetic modulo 2^32 the difference is at most 2^15 for all bits.
    return (bits - (upper.astype(np.uint32) << 16)).astype(np.uint16).view(np.int16)


def lost_length(numbers: Float32Array, upper: UInt16Array) -> float:
    """Return the largest length of what the upper halves of vectors (n, D) lack, over the finite ones."""
    lost = np.linalg.norm(numbers - (upper.astype(np.uint32) << 16).view(np.float32), axis=1)
    return float(lost[np.isfinite(lost)].max(initial=0))


def joined(upper: UInt16Array, lower: Int16Array) -> Float32Array:
    """Return the numbers of which these are the halves."""
    return ((upper.astype(np.uint32) << 16) + lower.astype(np.uint32)).view(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class HalvedDescriptors:
    """Descriptors of n crops in halves."""

    upper: tuple[UInt16Array, ...]  # (n, D_b) of each block
    lower: Int16Array  # (n, D)
    visible: Int32Array  # (n,), a bit for each visible part, the first part lowest
    parts: int
    always: int  # number of always-present features
    errors: tuple[float, ...]  # Largest length that the upper halves of a crop lack, of each block

    @classmethod
    def of(cls, descriptors: Descriptors, blocks: Sequence[int]) -> HalvedDescriptors:
        """Split descriptors of blocks of some lengths, () for one block."""
        upper = upper_half(descriptors.vectors)
        slices = block_slices(blocks, upper.shape[1])
        return cls(
            upper=tuple(np.ascontiguousarray(upper[:, part]) for part in slices),
            lower=lower_half(descriptors.vectors, upper),
            visible=packed(descriptors.visible),
            parts=descriptors.visible.shape[1],
            always=descriptors.always,
            errors=tuple(lost_length(descriptors.vectors[:, part], upper[:, part]) for part in slices),
        )

    def __len__(self) -> int:
        return len(self.visible)

    def select(self, rows: Int64Array, buffers: Sequence[UInt16Array]) -> HalvedDescriptors:
        """Copy some crops, without the lower halves, into buffers (>= m, D_b) of each block."""
        copies = tuple(
            block.take(rows, axis=0, out=buffer[: len(rows)], mode="clip")
            for block, buffer in zip(self.upper, buffers, strict=True)
        )
        return replace(self, upper=copies, lower=self.lower[:0], visible=self.visible[rows])

    def take(self, rows: Int64Array) -> Descriptors:
        """Return the descriptors of some crops."""
        upper = np.concatenate([block[rows] for block in self.upper], axis=1)
        return Descriptors(
            vectors=joined(upper, self.lower[rows]),
            visible=unpacked(self.visible[rows], self.parts),
            always=self.always,
        )


def block_slices(blocks: Sequence[int], width: int) -> list[slice]:
    """Return the columns of each block of descriptors of `width` numbers; () is one block."""
    ends = np.cumsum(blocks or (width,)).tolist()
    return [slice(start, end) for start, end in zip((0, *ends), ends, strict=False)]
