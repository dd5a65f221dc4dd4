"""Evaluate a model, or given features, on a dataset: ranking, attributes, regions and attribute filter; compare two."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.attributes import AttributeEvaluation, attribute_mismatch, evaluate_attributes
from vestigo.evaluation.features import FeatureSet
from vestigo.evaluation.filter import FilterEvaluation, FilterEvaluator
from vestigo.evaluation.images import embed_split, without_camera_bias
from vestigo.evaluation.metrics.bootstrap import Difference, compare_accuracies, compare_map
from vestigo.evaluation.metrics.ranking import SCORED, ImageSet, QueryScores, RetrievalMetrics
from vestigo.evaluation.metrics.regions import RegionMetrics
from vestigo.evaluation.ranking import EvaluationOptions, evaluation_distances, rank_and_score
from vestigo.evaluation.regions import belongings_auc, make_region_evaluator
from vestigo_models.arrays import Float32Array, Int64Array
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_models.schemas.attributes import AttributeSchema

CMC_RANKS = tuple(range(1, 21))


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The evaluation of one ranking, over the Q queries and G gallery images that could be read.

    Attributes:
        nearest: (Q, `NEAREST_SHOWN`) int64, rows of the nearest compared gallery images, -1 if there are fewer.
        unreadable: Reason -> number of images that could not be read.
        probabilities: (Q, M) and (G, M) float32 attribute probabilities.
        attributes: Evaluation of the gallery's attributes, None if impossible.
        regions: Evaluation of the gallery's regions, None if impossible.
        filter: Effect of the attribute filter, None without one.
        notes: Why something that the dataset or the model has was not evaluated.
    """

    query: ImageSet
    gallery: ImageSet
    scores: QueryScores
    nearest: Int64Array
    unreadable: dict[str, int] = field(default_factory=dict)
    gallery_unreadable: dict[str, int] = field(default_factory=dict)
    query_paths: tuple[Path, ...] = ()
    gallery_paths: tuple[Path, ...] = ()
    schema: AttributeSchema | None = None
    probabilities: tuple[Float32Array, Float32Array] | None = None
    attributes: AttributeEvaluation | None = None
    regions: RegionMetrics | None = None
    belongings_auc: float | None = None
    filter: FilterEvaluation | None = None
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> RetrievalMetrics:
        """Metrics over all queries; unreadable ones count as excluded."""
        summary = self.scores.summary(CMC_RANKS)
        unreadable = {f"query image unreadable ({reason})": count for reason, count in self.unreadable.items()}
        queries = summary.queries + sum(unreadable.values())
        return replace(summary, queries=queries, excluded=summary.excluded | unreadable)

    def by_camera(self) -> dict[int, RetrievalMetrics]:
        """Return the metrics of the queries of each camera, counted from 0."""
        return {
            int(camera): self.scores[self.query.camids == camera].summary() for camera in np.unique(self.query.camids)
        }


def evaluate_model(
    dataset: ReidDataset, extractor: Extractor, options: EvaluationOptions, progress: OpenProgress = ignore_stages
) -> Evaluation:
    """Evaluate a model on a dataset's query and gallery; unreadable images are skipped and counted.

    Raises:
        ConfigError: If a filter is given and the model predicts no attributes.
    """
    schema = extractor.package.schema
    filters = options.filter.mode != "off"
    if filters and schema is None:
        raise ConfigError(
            f"filter {options.filter.mode}: model {extractor.package.name} predicts no attributes to filter by; leave"
            " the filter off or take a model that was trained with attributes"
        )
    region_evaluator, region_note = make_region_evaluator(dataset, extractor)
    query, query_files = embed_split(dataset.query, extractor, progress("query"))
    gallery, gallery_files = embed_split(dataset.gallery, extractor, progress("gallery"), region_evaluator)
    if not options.keep_camera_bias:
        query, gallery = without_camera_bias(query, gallery, extractor.package.blocks)
    filter_evaluator = None
    if schema is not None and filters and len(gallery):
        filter_evaluator = FilterEvaluator(
            options.filter, schema, query, gallery, protocol=options.protocol, ap=options.ap
        )
    distances = evaluation_distances(query.features.descriptors, gallery.features.descriptors, options)
    scores, nearest = rank_and_score(
        distances, query.images, gallery.images, options, progress=progress("ranking"), filter=filter_evaluator
    )
    features = gallery.features
    attribute_note = attribute_mismatch(dataset, schema)
    attributes = None
    if schema is not None and not attribute_note:
        attributes = evaluate_attributes(features.probabilities, dataset.gallery, gallery_files.rows, schema)
    return Evaluation(
        query=query.images,
        gallery=gallery.images,
        scores=scores,
        nearest=nearest,
        unreadable=query_files.unreadable,
        gallery_unreadable=gallery_files.unreadable,
        query_paths=tuple(dataset.query.paths[row] for row in query_files.rows),
        gallery_paths=tuple(dataset.gallery.paths[row] for row in gallery_files.rows),
        schema=schema,
        probabilities=None if schema is None else (query.features.probabilities, features.probabilities),
        attributes=attributes,
        regions=None if region_evaluator is None else region_evaluator.result(),
        belongings_auc=belongings_auc(features.areas, extractor.package.regions, dataset, gallery_files.rows),
        filter=None if filter_evaluator is None else filter_evaluator.result(),
        notes=tuple(note for note in (attribute_note, region_note) if note),
    )


def evaluate_features(
    query: FeatureSet, gallery: FeatureSet, options: EvaluationOptions, progress: OpenProgress = ignore_stages
) -> Evaluation:
    """Evaluate the ranking that given features make."""
    distances = evaluation_distances(query[0], gallery[0], options)
    scores, nearest = rank_and_score(distances, query[1], gallery[1], options, progress=progress("ranking"))
    return Evaluation(query=query[1], gallery=gallery[1], scores=scores, nearest=nearest)


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """By how much a model is better than another, in percentage points; None for fewer than two identities."""

    mAP: Difference | None
    # Differences in official accuracy; empty if one of the models has none
    attributes: dict[str, Difference | None] = field(default_factory=dict)

    def measures(self) -> dict[str, Difference | None]:
        """Return mAP, then the attributes in the order of their schema."""
        return {"mAP": self.mAP, **self.attributes}


def compare(model: Evaluation, other: Evaluation) -> ModelComparison:
    """Compare two models that were evaluated on the same images (else ValueError) with the same options."""
    if model.query_paths != other.query_paths or model.gallery_paths != other.gallery_paths:
        raise ValueError("the models were evaluated on different images")
    identities = np.unique(model.query.pids[model.scores.status == SCORED])
    mean_ap = compare_map(other.scores, model.scores, model.query.pids) if len(identities) > 1 else None
    first, second = other.attributes, model.attributes
    if first is None or second is None:
        return ModelComparison(mAP=mean_ap)
    pids = model.gallery.pids[second.images]
    accuracies = compare_accuracies(first.correct, second.correct, pids, second.schema)
    return ModelComparison(mAP=mean_ap, attributes=accuracies)
