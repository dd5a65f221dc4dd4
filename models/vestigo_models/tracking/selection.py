"""The best crops of a tracklet, chosen so that the choice can be made piece by piece.

The scheme: cut time into buckets of `bucket_s` seconds, absolute in the video; the best crop of each bucket wins it;
the N best winners are kept. "Better" is higher quality, then smaller crop id: a total order.

**It may be applied to parts, and then to the union of what the parts kept.** Let a crop c be among the N winners of
the whole, and P the part that holds it. In P, c wins its bucket, for fewer crops compete. Every winner of P that
beats c comes from a bucket of its own, and the whole's winner of that bucket is at least as good, so beats c too;
there are fewer than N such buckets, hence P keeps c. Conversely the union of the kept contains all N, and whatever
else it contains is beaten by them: in its bucket, or because fewer than N winners of the union beat c. So
top N of (top N of the parts) = top N of the whole, whatever the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vestigo_models.tracking.quality import hamming

T = TypeVar("T")


def bucket_of(offset_s: float, bucket_s: float) -> int:
    """The bucket of a moment, in seconds from the start of the video."""
    return int(np.floor(offset_s / bucket_s))


def best_crops(ids: Sequence[str], quality: Sequence[float], buckets: Sequence[int], count: int) -> list[int]:
    """Rows of the at most `count` best bucket winners, best first; all arguments have one entry a crop."""
    winners: dict[int, tuple[float, str, int]] = {}
    for row, (crop, value, bucket) in enumerate(zip(ids, quality, buckets, strict=True)):
        entry = (-value, crop, row)
        winners[bucket] = min(winners.get(bucket, entry), entry)
    return [row for *_, row in sorted(winners.values())[:count]]


@dataclass
class BestCrops(Generic[T]):
    """The same choice, fed in order of time, holding at most `count` + 1 crops at a moment."""

    count: int
    _kept: dict[int, tuple[float, str, T]] = field(default_factory=dict)

    def wants(self, crop: str, quality: float, bucket: int) -> bool:
        """Whether `add` would keep this crop for now; saves cutting it out."""
        rival = self._kept.get(bucket)
        return rival is None or (-quality, crop) < rival[:2]

    def add(self, crop: str, quality: float, bucket: int, picture: T) -> None:
        """Offer a crop of the current bucket or a later one."""
        if not self.wants(crop, quality, bucket):
            return
        self._kept[bucket] = (-quality, crop, picture)
        # Earlier buckets are decided, the current one may still improve: only the former compete for the N places.
        decided = [at for at in self._kept if at != bucket]
        if len(decided) > self.count:
            del self._kept[max(decided, key=lambda at: self._kept[at][:2])]

    def best(self) -> list[T]:
        """The chosen, best first."""
        return [picture for _, _, picture in sorted(self._kept.values(), key=lambda kept: kept[:2])[: self.count]]


def near_duplicates(hashes: Sequence[int], max_bits: int) -> NDArray[np.bool_]:
    """Mark each crop that differs in at most `max_bits` bits from a better one that is not itself marked.

    hashes: 64-bit difference hashes, best crop first -> bool (n,).
    """
    marked = np.zeros(len(hashes), dtype=np.bool_)
    for row, value in enumerate(hashes):
        marked[row] = any(hamming(value, hashes[better]) <= max_bits for better in np.flatnonzero(~marked[:row]))
    return marked
