"""Retrieval: ranking an archive that is never held in memory, for one person or for many."""

from vestigo.retrieval.archive import EVERYWHERE, Archive, Scope, newest_model, require_model
from vestigo.retrieval.bulk import BulkQueries, crop_queries, rank_archive, tracklet_queries
from vestigo.retrieval.fusion import fuse
from vestigo.retrieval.ranking import Ranking, rank, rank_batch
from vestigo.retrieval.search import Hit, Query, SearchResult, search

__all__ = [
    "EVERYWHERE",
    "Archive",
    "BulkQueries",
    "Hit",
    "Query",
    "Ranking",
    "Scope",
    "SearchResult",
    "crop_queries",
    "fuse",
    "newest_model",
    "rank",
    "rank_archive",
    "rank_batch",
    "require_model",
    "search",
    "tracklet_queries",
]
