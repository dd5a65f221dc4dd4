"""Fine-grained local semantics: label maps of body regions and of what people carry (specification, section 5)."""

from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import cluster_labels, fls_labels
from vestigo_models.fls.oracle import oracle_labels
from vestigo_models.fls.pixels import with_belongings

__all__ = ["FlsConfig", "cluster_labels", "fls_labels", "oracle_labels", "with_belongings"]
