"""Selection of the best crops of a tracklet, which can be computed slice by slice.

Time is divided into buckets of `bucket_s` seconds, counted from the start of the video. The best crop of each bucket is
its winner, and the N best winners are kept. Crops are ordered by higher quality, then by smaller crop id.

The top N of the top N of all parts equal the top N of the whole. Proof: let c be one of the N best winners of the whole
and P the part that contains it. In P, c wins its bucket, because fewer crops compete. Each winner of P that is better
than c has a bucket of its own, whose winner in the whole is at least as good. There are fewer than N such buckets, so P
keeps c. Hence the union contains all N, and any other crop in it is worse than the winner of its bucket or than all N.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from vestigo_models.arrays import BoolArray
from vestigo_models.tracking.quality import hamming

T = TypeVar("T")


def bucket_of(offset_s: float, bucket_s: float) -> int:
    """Return the bucket of a time in seconds from the start of the video."""
    return int(np.floor(offset_s / bucket_s))


def best_crops(ids: Sequence[str], quality: Sequence[float], buckets: Sequence[int], count: int) -> list[int]:
    """Return the rows of the at most `count` best bucket winners, best first; arguments have one entry per crop."""
    winners: dict[int, tuple[float, str, int]] = {}
    for row, (crop, value, bucket) in enumerate(zip(ids, quality, buckets, strict=True)):
        entry = (-value, crop, row)
        winners[bucket] = min(winners.get(bucket, entry), entry)
    return [row for *_, row in sorted(winners.values())[:count]]


@dataclass
class BestCrops(Generic[T]):
    """Selects like `best_crops` from crops in order of time and holds at most `count` + 1 of them."""

    count: int
    _kept: dict[int, tuple[float, str, T]] = field(default_factory=dict)

    def accepts(self, crop: str, quality: float, bucket: int) -> bool:
        """Return whether `add` would keep this crop for now, so that other crops need not be cut out."""
        rival = self._kept.get(bucket)
        return rival is None or (-quality, crop) < rival[:2]

    def add(self, crop: str, quality: float, bucket: int, image: T) -> None:
        """Add a crop of the current bucket or a later one."""
        if not self.accepts(crop, quality, bucket):
            return
        self._kept[bucket] = (-quality, crop, image)
        # The winner of the current bucket may still change; only those of earlier buckets compete for the N places.
        earlier = [number for number in self._kept if number != bucket]
        if len(earlier) > self.count:
            del self._kept[max(earlier, key=lambda number: self._kept[number][:2])]

    def best(self) -> list[T]:
        """Return the selected crops, best first."""
        return [image for _, _, image in sorted(self._kept.values(), key=lambda kept: kept[:2])[: self.count]]


def near_duplicates(hashes: Sequence[int], max_bits: int) -> BoolArray:
    """Return which crops (n,) differ in at most `max_bits` bits from a better crop that is no near-duplicate itself.

    `hashes` are 64-bit difference hashes, best crop first.
    """
    marked = np.zeros(len(hashes), dtype=np.bool_)
    for row, value in enumerate(hashes):
        marked[row] = any(hamming(value, hashes[better]) <= max_bits for better in np.flatnonzero(~marked[:row]))
    return marked
