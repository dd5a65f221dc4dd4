"""The result of the fusion rules if parser and network made no errors."""

from __future__ import annotations

import numpy as np

from vestigo_models.arrays import UInt8Array
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import fls_labels
from vestigo_models.schemas.regions import BACKGROUND, BELONGINGS


def oracle_labels(truth: UInt8Array, config: FlsConfig) -> UInt8Array:
    """Fuse the true silhouette, as level 1, and the true body, as the parser's map: N x H x W to N x H x W.

    `foreground` and `belongings_mode` of the configuration are replaced.
    """
    silhouette = np.stack([truth == BACKGROUND, truth != BACKGROUND], axis=3).astype(np.float32)
    body = np.where(truth == BELONGINGS, np.uint8(BACKGROUND), truth).astype(np.uint8)
    rules = config.model_copy(update={"foreground": "classifier", "belongings_mode": "complement"})
    return fls_labels(silhouette, body, rules, silhouette)
