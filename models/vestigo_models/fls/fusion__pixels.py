"""From labels on the network's grid to labels of an image's own pixels.

A parser sees the outline of a body pixel by pixel, clustering sees cells. The body is therefore the parser's, and only
what the parser does not know, the belongings, is enlarged from the grid.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo_models.fls.config import FlsConfig
from vestigo_models.schemas.regions import BACKGROUND, BELONGINGS, UPPER

Labels = NDArray[np.uint8]


def enlarged(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float32]:
    """Share of each pixel (h x w) that a mask of cells has, by linear interpolation between their centres."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR))


def with_belongings(body: Labels, fused: Labels, config: FlsConfig) -> Labels:
    """The parser's regions of all pixels, and the belongings of the fused map where it does not contradict.

    body: h x w, region ids of the parser; fused: rows x columns, region ids of `fls_labels`. A pixel that the parser
    leaves to the background is belongings where these weigh more than the background around it. Where clusters vote,
    belongings may also take the upper body, as on the grid.
    """
    carried = fused == BELONGINGS
    if not carried.any():
        return body.copy()
    weight = enlarged(carried, (body.shape[0], body.shape[1]))
    labels = body.copy()
    taken = (BACKGROUND,) if config.belongings_mode == "complement" else (BACKGROUND, UPPER)
    for region in taken:
        labels[(body == region) & (weight > enlarged(fused == region, (body.shape[0], body.shape[1])))] = BELONGINGS
    return labels
