"""Images through a model, or features as they are, to everything that is known about the ranking they make."""

from __future__ import annotations

from vestigo.datasets.formats.features import FeatureSet
from vestigo.datasets.reid import ReidDataset, Split
from vestigo.evaluation.attributes import judge_attributes, why_not
from vestigo.evaluation.evaluate__result import Benchmark
from vestigo.evaluation.filter import FilterRun, Side
from vestigo.evaluation.metrics.ranking import ImageSet
from vestigo.evaluation.options import Advance, Options
from vestigo.evaluation.ranking import distances, rank
from vestigo.evaluation.regions import belongings_auc, region_judge
from vestigo.ingest.embedding import Embedded, Watch, embed_files
from vestigo_models.errors import ConfigError
from vestigo_models.inference.extractor import Extractor


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
