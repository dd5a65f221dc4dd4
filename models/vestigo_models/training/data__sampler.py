"""Identity-balanced batches: P identities with K images each (BoT; specification, section 10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import ConfigError


def identity_batches(
    pids: NDArray[np.int64], *, identities: int, images: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """All batches of one epoch: steps x (identities * images) indices into `pids`, images of an identity adjacent.

    The images of every identity are shuffled and cut into groups of `images` (drawn with replacement where it has
    fewer; the incomplete last group is left out). Each batch takes one group of `identities` random identities, until
    fewer have groups left. The result depends on the arguments alone, so an epoch can be entered at any step.

    Raises:
        ConfigError: the set holds fewer identities than one batch needs.
    """
    rng = np.random.default_rng((seed, epoch, 0))
    groups: dict[int, list[NDArray[np.int64]]] = {}
    for pid in np.unique(pids):
        members = np.flatnonzero(pids == pid)
        if len(members) < images:
            members = rng.choice(members, images, replace=True)
        members = rng.permutation(members)
        whole = len(members) // images
        groups[int(pid)] = list(members[: whole * images].reshape(whole, images))
    if len(groups) < identities:
        raise ConfigError(
            f"batch_identities={identities}: the training set has only {len(groups)} identities; set at most that many"
        )
    left = np.array(sorted(groups))
    batches = []
    while len(left) >= identities:
        chosen = rng.choice(left, identities, replace=False)
        batches.append(np.concatenate([groups[int(pid)].pop() for pid in chosen]))
        left = np.array([pid for pid in left if groups[int(pid)]], dtype=np.int64)
    return np.stack(batches).astype(np.int64)
