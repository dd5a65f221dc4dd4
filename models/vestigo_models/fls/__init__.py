"""Fine-grained local semantics: label maps of body regions and of what people carry (specification, section 5)."""

from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import cluster_labels, fls_labels

__all__ = ["FlsConfig", "cluster_labels", "fls_labels"]
