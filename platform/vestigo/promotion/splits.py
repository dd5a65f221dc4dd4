"""A test split of a store's own people, for archives that come without a test set.

It is frozen: whether somebody is tested follows from who it is and from nothing else, so that it stays the same while
the archive grows, is moved, or is indexed again, and however often models are trained. It is disjoint by identity as
far as identities are known: a person seen in two tracklets that nobody has linked may stand on both sides.
"""

from __future__ import annotations

import hashlib

TEST_SHARE = 5
"""One in so many people is tested."""


def identity_key(*, pid: int | None, tracklet: str, crop: str) -> str:
    """Who a crop shows: the dataset's identity where it is known (above 0), else its tracklet, else the crop alone.

    Ids of tracklets and crops are digests of content, so the same footage under another path is the same people.
    """
    if pid is not None and pid > 0:
        return f"pid {pid}"
    return f"tracklet {tracklet}" if tracklet else f"crop {crop}"


def is_test(key: str) -> bool:
    """Whether somebody belongs to the test split; all others may be learnt from."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < 2**64 // TEST_SHARE
