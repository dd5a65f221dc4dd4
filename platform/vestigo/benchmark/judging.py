"""Images through a model, or features as they are, to everything that is known about the ranking they make."""

from __future__ import annotations

from vestigo.benchmark.attributes import judge_attributes, why_not
from vestigo.benchmark.ranking import descriptor_distances, feature_distances, rank
from vestigo.benchmark.result import Advance, Benchmark, Options
from vestigo.datasets import ReidDataset, Split
from vestigo.datasets.features import FeatureSet
from vestigo.embedding import Embedded, embed_files
from vestigo.evaluation import ImageSet
from vestigo_models.extraction import Extractor


def judge_model(
    dataset: ReidDataset, extractor: Extractor, options: Options, advance: Advance = lambda *_: None
) -> Benchmark:
    """Put a dataset's query and gallery images through a model, rank and judge: unreadable ones are left out and
    counted."""
    schema = extractor.package.schema

    def embedded(stage: str, split: Split) -> Embedded:
        return embed_files(split.paths, extractor, lambda done: advance(stage, done, len(split)))

    def images(split: Split, found: Embedded) -> ImageSet:
        return ImageSet(pids=split.pids[found.rows], camids=split.camids[found.rows], ids=found.ids)

    query, gallery = embedded("query", dataset.query), embedded("gallery", dataset.gallery)
    query_images, gallery_images = images(dataset.query, query), images(dataset.gallery, gallery)
    chunks = descriptor_distances(query.outputs.descriptors, gallery.outputs.descriptors, options)
    ranked = rank(chunks, query_images, gallery_images, options, advance)
    note = why_not(dataset, schema)
    return Benchmark(
        query=query_images,
        gallery=gallery_images,
        scores=ranked.scores,
        nearest=ranked.nearest,
        unreadable=query.unreadable,
        gallery_unreadable=gallery.unreadable,
        query_paths=tuple(dataset.query.paths[row] for row in query.rows),
        gallery_paths=tuple(dataset.gallery.paths[row] for row in gallery.rows),
        attributes=None
        if schema is None or note
        else judge_attributes(gallery.outputs.probabilities, dataset.gallery, gallery.rows, schema),
        notes=(note,) if note else (),
    )


def judge_features(
    query: FeatureSet, gallery: FeatureSet, options: Options, advance: Advance = lambda *_: None
) -> Benchmark:
    """Score the ranking that given features make."""
    query_images = ImageSet(pids=query.pids, camids=query.camids, ids=query.ids)
    gallery_images = ImageSet(pids=gallery.pids, camids=gallery.camids, ids=gallery.ids)
    chunks = feature_distances(query.embeddings, gallery.embeddings, options)
    ranked = rank(chunks, query_images, gallery_images, options, advance)
    return Benchmark(query=query_images, gallery=gallery_images, scores=ranked.scores, nearest=ranked.nearest)
