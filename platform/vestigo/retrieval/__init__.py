"""Retrieval: ranking an archive that is never held in memory, for one person or for many."""

from vestigo.retrieval.appearance import Appearance
from vestigo.retrieval.archive import EVERYWHERE, Archive, Scope, current_model, require_model
from vestigo.retrieval.bulk import Ranked, crop_queries, rank_archive, tracklet_queries
from vestigo.retrieval.comparison import NO_FILTER, Comparison
from vestigo.retrieval.explaining import AttributeMatch, BlockMatch, Explanation, explain, explain_where
from vestigo.retrieval.filtering import ArchiveFilter, SoftFilter
from vestigo.retrieval.fusion import fuse
from vestigo.retrieval.image_queries import image_queries
from vestigo.retrieval.judged import JudgedRanking, judge
from vestigo.retrieval.keeping import BulkQueries
from vestigo.retrieval.ranking import Batch, Ranking, rank, rank_batch
from vestigo.retrieval.search import Hit, Query, SearchResult, search, search_where
from vestigo.retrieval.where import rank_where, where_scores

__all__ = [
    "EVERYWHERE",
    "NO_FILTER",
    "Appearance",
    "Archive",
    "ArchiveFilter",
    "AttributeMatch",
    "Batch",
    "BlockMatch",
    "BulkQueries",
    "Comparison",
    "Explanation",
    "Hit",
    "JudgedRanking",
    "Query",
    "Ranked",
    "Ranking",
    "Scope",
    "SearchResult",
    "SoftFilter",
    "crop_queries",
    "current_model",
    "explain",
    "explain_where",
    "fuse",
    "image_queries",
    "judge",
    "rank",
    "rank_archive",
    "rank_batch",
    "rank_where",
    "require_model",
    "search",
    "search_where",
    "tracklet_queries",
    "where_scores",
]
