"""Several views of one person as one query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vestigo_models.errors import UsageError


def fuse(views: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the L2-normalised mean of L2-normalised views: (V, D) float32 to (D,) float32.

    The mean, not the smallest distance: what the views share is the person and adds up, what each has of its own
    (background, blur, somebody in front) averages out, while the smallest distance follows the worst view wherever
    it leads. It is one vector, too, so several views cost one pass over the archive.

    Raises:
        UsageError: the views cancel each other out, so they cannot be of one person.
    """
    mean = views.astype(np.float64).mean(axis=0)
    norm = float(np.linalg.norm(mean))
    if norm < 1e-6:
        raise UsageError("the views of the query have nothing in common; are they of one person?")
    return np.asarray(mean / norm, dtype=np.float32)
