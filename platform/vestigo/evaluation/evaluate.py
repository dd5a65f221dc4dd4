"""Images through a model, or features as they are, to everything that is known about the ranking they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.formats.features import FeatureSet
from vestigo.datasets.reid import ReidDataset, Split
from vestigo.evaluation.attributes import AttributeJudgement, judge_attributes, why_not
from vestigo.evaluation.filter import FilterJudgement, FilterRun, Side
from vestigo.evaluation.metrics.ranking import ImageSet, QueryScores, RetrievalMetrics
from vestigo.evaluation.metrics.regions import RegionMetrics
from vestigo.evaluation.options import Advance, Options
from vestigo.evaluation.ranking import distances, rank
from vestigo.evaluation.regions import belongings_auc, region_judge
from vestigo.ingest.embedding import Embedded, Watch, embed_files
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.schemas.attributes import AttributeSchema

CURVE = tuple(range(1, 21))


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """What was found, for the ranking that was asked for.

    Attributes:
        scores: by query, for the Q queries that could be read.
        nearest: (Q, `STRIP`) int64, gallery rows of the images that each query was compared with, nearest first,
            -1 where there are fewer.
        unreadable: reason -> number of queries left out because their image cannot be read.
        gallery_unreadable: the same for gallery images.
        schema: attributes that the model predicts, None where it predicts none.
        probabilities: (Q, M) and (G, M) float32, what it says of them for query and gallery.
        attributes: of the gallery, None where they cannot be judged.
        regions: of the gallery, None where they cannot be judged.
        belongings_auc: see `vestigo.evaluation.regions.belongings_auc`.
        filter: what the filter did, None without one.
        notes: why something that the dataset or the model has was not judged.
    """

    query: ImageSet
    gallery: ImageSet
    scores: QueryScores
    nearest: NDArray[np.int64]
    unreadable: dict[str, int] = field(default_factory=dict)
    gallery_unreadable: dict[str, int] = field(default_factory=dict)
    query_paths: tuple[Path, ...] = ()
    gallery_paths: tuple[Path, ...] = ()
    schema: AttributeSchema | None = None
    probabilities: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    attributes: AttributeJudgement | None = None
    regions: RegionMetrics | None = None
    belongings_auc: float | None = None
    filter: FilterJudgement | None = None
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> RetrievalMetrics:
        """Summary over all queries, unreadable ones among the excluded."""
        summary = self.scores.summary(CURVE)
        unreadable = {f"query image unreadable ({reason})": count for reason, count in self.unreadable.items()}
        return RetrievalMetrics(
            mAP=summary.mAP,
            mINP=summary.mINP,
            cmc=summary.cmc,
            queries=summary.queries + sum(unreadable.values()),
            excluded=summary.excluded | unreadable,
        )

    def by_camera(self) -> dict[int, RetrievalMetrics]:
        """Summary of the queries of each camera (counted from 0)."""
        return {
            int(camera): self.scores[self.query.camids == camera].summary() for camera in np.unique(self.query.camids)
        }


def judge_model(
    dataset: ReidDataset, extractor: Extractor, options: Options, advance: Advance = lambda *_: None
) -> Benchmark:
    """Put a dataset's query and gallery images through a model, rank and judge; unreadable ones are left out and
    counted.

    Raises:
        ConfigError: a filter is asked for, and the model predicts no attributes.
    """
    schema = extractor.package.schema
    if options.filter.mode != "off" and schema is None:
        raise ConfigError(
            f"filter {options.filter.mode}: model {extractor.package.name} predicts no attributes to filter by; leave"
            " the filter off or take a model that was trained with attributes"
        )

    def embedded(stage: str, split: Split, watch: Watch | None = None) -> Embedded:
        return embed_files(split.paths, extractor, lambda done: advance(stage, done, len(split)), watch)

    def images(split: Split, found: Embedded) -> ImageSet:
        return ImageSet(pids=split.pids[found.rows], camids=split.camids[found.rows], ids=found.ids)

    regions, no_regions = region_judge(dataset, extractor)
    query, gallery = embedded("query", dataset.query), embedded("gallery", dataset.gallery, regions)
    query_images, gallery_images = images(dataset.query, query), images(dataset.gallery, gallery)
    chunks = distances(query.outputs.descriptors, gallery.outputs.descriptors, options)
    run = None
    if schema is not None and options.filter.mode != "off" and len(gallery_images):
        asked = Side(images=query_images, outputs=query.outputs)
        held = Side(images=gallery_images, outputs=gallery.outputs)
        run = FilterRun(options.filter, schema, asked, held, options)
    ranked = rank(chunks, query_images, gallery_images, options, advance, run)
    no_attributes = why_not(dataset, schema)
    return Benchmark(
        query=query_images,
        gallery=gallery_images,
        scores=ranked.scores,
        nearest=ranked.nearest,
        unreadable=query.unreadable,
        gallery_unreadable=gallery.unreadable,
        query_paths=tuple(dataset.query.paths[row] for row in query.rows),
        gallery_paths=tuple(dataset.gallery.paths[row] for row in gallery.rows),
        schema=schema,
        probabilities=None if schema is None else (query.outputs.probabilities, gallery.outputs.probabilities),
        attributes=None
        if schema is None or no_attributes
        else judge_attributes(gallery.outputs.probabilities, dataset.gallery, gallery.rows, schema),
        regions=None if regions is None else regions.judgement(),
        belongings_auc=belongings_auc(gallery.outputs.areas, extractor.package.regions, dataset, gallery.rows),
        filter=None if run is None else run.judgement(),
        notes=tuple(note for note in (no_attributes, no_regions) if note),
    )


def judge_features(
    query: FeatureSet, gallery: FeatureSet, options: Options, advance: Advance = lambda *_: None
) -> Benchmark:
    """Score the ranking that given features make."""
    query_images = ImageSet(pids=query.pids, camids=query.camids, ids=query.ids)
    gallery_images = ImageSet(pids=gallery.pids, camids=gallery.camids, ids=gallery.ids)
    chunks = distances(query.embeddings, gallery.embeddings, options)
    ranked = rank(chunks, query_images, gallery_images, options, advance)
    return Benchmark(query=query_images, gallery=gallery_images, scores=ranked.scores, nearest=ranked.nearest)
