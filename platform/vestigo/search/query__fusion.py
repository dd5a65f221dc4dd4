"""Several views of one person as one query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vestigo.search.gallery__appearance import Appearance
from vestigo_models.errors import UsageError
from vestigo_models.inference.distance import Descriptors


def fuse(views: Appearance, blocks: Sequence[int] = ()) -> Appearance:
    """Return one query from V views: of each block of the descriptors the mean over the views that show it,
    L2-normalised, and the mean of the attribute probabilities.

    A part is visible if any view shows it. The mean, not the smallest distance: what the views share is the person
    and adds up, what each has of its own (background, blur, somebody in front) averages out, while the smallest
    distance follows the worst view wherever it leads. It is one vector, too, so several views cost one pass over the
    archive.

    Args:
        blocks: lengths of a descriptor's blocks as in `vestigo.store.ModelFacts`; () for one.

    Raises:
        UsageError: the views cancel each other out, so they cannot be of one person.
    """
    descriptors = views.descriptors
    mean: NDArray[np.float64] = descriptors.vectors.astype(np.float64).mean(axis=0)
    visible = np.array(descriptors.visible.any(axis=0))
    ends = np.cumsum(blocks or (len(mean),))
    for place, block in enumerate(np.split(mean, ends[:-1])):
        part = place - descriptors.always
        norm = float(np.linalg.norm(block))
        if norm >= 1e-6:
            block /= norm
        elif part < 0:
            raise UsageError("the views of the query have nothing in common; are they of one person?")
        else:
            block[:] = 0
            visible[part] = False
    return Appearance(
        descriptors=Descriptors(
            vectors=mean[None].astype(np.float32), visible=visible[None], always=descriptors.always
        ),
        probabilities=views.probabilities.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32),
    )
