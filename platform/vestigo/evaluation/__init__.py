"""Evaluation: pure functions on arrays that say how good rankings and attribute predictions are."""

from vestigo.evaluation.attributes import AttributeCounts, AttributeMetrics, count_attributes, majority_predictions
from vestigo.evaluation.distances import Metric, distance_chunks
from vestigo.evaluation.reranking import reranked_chunks
from vestigo.evaluation.retrieval import (
    PROTOCOLS,
    REASONS,
    SCORED,
    ApDefinition,
    ImageSet,
    Protocol,
    QueryScores,
    RetrievalMetrics,
    compared_images,
    score_chunks,
    score_queries,
)

__all__ = [
    "PROTOCOLS",
    "REASONS",
    "SCORED",
    "ApDefinition",
    "AttributeCounts",
    "AttributeMetrics",
    "ImageSet",
    "Metric",
    "Protocol",
    "QueryScores",
    "RetrievalMetrics",
    "compared_images",
    "count_attributes",
    "distance_chunks",
    "majority_predictions",
    "reranked_chunks",
    "score_chunks",
    "score_queries",
]
