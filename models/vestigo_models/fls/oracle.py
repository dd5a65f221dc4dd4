"""What the rules of fusion would give if parser and network made no mistake (specification, section 5.3)."""

from __future__ import annotations

import numpy as np

from vestigo_models.fls.clustering import Labels
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import fls_labels
from vestigo_models.schemas.regions import BACKGROUND, BELONGINGS


def oracle_labels(truth: Labels, config: FlsConfig) -> Labels:
    """Fused label maps of one identity's images from the true silhouette for level 1 and the true body for a parser.

    truth: N x H x W, region ids 0..5. Belongings are what the parser misses (`complement`), whatever `config` says of
    them: everything else it says, it says here too.
    """
    silhouette = np.stack([truth == BACKGROUND, truth != BACKGROUND], axis=3).astype(np.float32)
    body = np.where(truth == BELONGINGS, np.uint8(BACKGROUND), truth).astype(np.uint8)
    rules = config.model_copy(update={"foreground": "classifier", "belongings_mode": "complement"})
    return fls_labels(silhouette, body, rules, silhouette)
