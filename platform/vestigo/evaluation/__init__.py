"""Evaluation: pure functions on arrays that say how good rankings and attribute predictions are."""

from vestigo.evaluation.attributes import AttributeCounts, AttributeMetrics, count_attributes, majority_predictions
from vestigo.evaluation.bootstrap import Difference, compare_accuracies, compare_map, compare_means
from vestigo.evaluation.calibrating import Sample, calibrate, choose_soft, fitted_people
from vestigo.evaluation.distances import Metric, distance_chunks
from vestigo.evaluation.filtering import FilterCost, FilterScores, filtered_distances, score_filtered
from vestigo.evaluation.kept import (
    KeptRows,
    KeptScores,
    PairScores,
    gain_interval,
    mean_interval,
    relations,
    score_kept,
    score_pairs,
)
from vestigo.evaluation.regions import RegionCounts, RegionMetrics, area_auc, count_regions
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
    "Difference",
    "FilterCost",
    "FilterScores",
    "ImageSet",
    "KeptRows",
    "KeptScores",
    "Metric",
    "PairScores",
    "Protocol",
    "QueryScores",
    "RegionCounts",
    "RegionMetrics",
    "RetrievalMetrics",
    "Sample",
    "area_auc",
    "calibrate",
    "choose_soft",
    "compare_accuracies",
    "compare_map",
    "compare_means",
    "compared_images",
    "count_attributes",
    "count_regions",
    "distance_chunks",
    "filtered_distances",
    "fitted_people",
    "gain_interval",
    "majority_predictions",
    "mean_interval",
    "relations",
    "reranked_chunks",
    "score_chunks",
    "score_filtered",
    "score_kept",
    "score_pairs",
    "score_queries",
]
