"""Two models on one dataset, people drawn again: how much better one is, and whether that is more than luck."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vestigo.evaluation.evaluate import Benchmark
from vestigo.evaluation.metrics.bootstrap import Difference, compare_accuracies, compare_map
from vestigo.evaluation.metrics.ranking import SCORED


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """By how much a model is better than another one, in percentage points; None where fewer than two people count.

    Attributes:
        attributes: of both models' official accuracies; empty where one of them was not judged on attributes.
    """

    mAP: Difference | None
    attributes: dict[str, Difference | None] = field(default_factory=dict)


def compare(model: Benchmark, other: Benchmark) -> Comparison:
    """Compare two models that were judged on the same dataset with the same options.

    Raises ValueError where the images differ.
    """
    if model.query_paths != other.query_paths or model.gallery_paths != other.gallery_paths:
        raise ValueError("the models were judged on different images")
    people = model.query.pids[model.scores.status == SCORED]
    mean_ap = compare_map(other.scores, model.scores, model.query.pids) if len(np.unique(people)) > 1 else None
    ours, theirs = model.attributes, other.attributes
    if ours is None or theirs is None:
        return Comparison(mAP=mean_ap)
    everything = np.ones_like(ours.right)
    pids = model.gallery.pids[ours.images]
    return Comparison(
        mAP=mean_ap, attributes=compare_accuracies(theirs.right, ours.right, everything, pids, ours.schema)
    )
