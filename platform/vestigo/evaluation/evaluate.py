"""Evaluate a model on a dataset: ranking, attributes, regions and attribute filter; compare two models."""

from dataclasses import dataclass, field

import numpy as np

from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.attributes import attribute_mismatch, evaluate_attributes
from vestigo.evaluation.filter import FilterEvaluator
from vestigo.evaluation.images import Embedder, as_embedder, embed_split, without_camera_bias
from vestigo.evaluation.metrics.bootstrap import Difference, compare_accuracies, compare_map
from vestigo.evaluation.metrics.ranking import SCORED
from vestigo.evaluation.ranking import EvaluationOptions, evaluation_distances, rank_and_score
from vestigo.evaluation.regions import belongings_auc, count_metrics, evaluated_maps
from vestigo.evaluation.result import Evaluation
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.progress import OpenProgress, ignore_stages


def evaluate_model(
    dataset: ReidDataset,
    model: Extractor | Embedder,
    options: EvaluationOptions,
    progress: OpenProgress = ignore_stages,
) -> Evaluation:
    """Evaluate a model on a dataset's query and gallery; unreadable images are skipped and counted.

    An extractor embeds the images in this process.

    Raises:
        ConfigError: If a filter is given and the model predicts no attributes.
    """
    embedder = as_embedder(model)
    package = embedder.package
    schema = package.schema
    filters = options.filter.mode != "off"
    if filters and schema is None:
        raise ConfigError(
            f"filter {options.filter.mode}: model {package.name} predicts no attributes to filter by; leave"
            " the filter off or take a model that was trained with attributes"
        )
    maps, region_note = evaluated_maps(dataset, package)
    query, query_files = embed_split(dataset.query, embedder, progress("query"))
    gallery, gallery_files = embed_split(dataset.gallery, embedder, progress("gallery"), maps)
    if not options.keep_camera_bias:
        query, gallery = without_camera_bias(query, gallery, package.blocks)
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
        regions=None if maps is None else count_metrics(gallery_files, package),
        belongings_auc=belongings_auc(features.areas, package.regions, dataset, gallery_files.rows),
        filter=None if filter_evaluator is None else filter_evaluator.result(),
        notes=tuple(note for note in (attribute_note, region_note) if note),
    )


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
