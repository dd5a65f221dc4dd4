"""The serving model and its challenger judged on the frozen test split of a dataset: one pass each, one comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vestigo.datasets.reid import ReidDataset
from vestigo.datasets.reid__digest import dataset_digest
from vestigo.evaluation.compare import compare
from vestigo.evaluation.evaluate import judge_model
from vestigo.evaluation.evaluate__result import Benchmark
from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.evaluation.options import Options
from vestigo.promotion.gate import differences_of
from vestigo_models.errors import ModelError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage

Progress = Callable[[str, int, int], None]
"""Hears the stage, how many of its items are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class JudgedPair:
    """Two models on the same test images.

    Attributes:
        before, after: scores of the serving model and of the challenger, plain data in percent (`scores_of`).
        differences: by how much the challenger is better, what `vestigo.promotion.gate.decide` decides on.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    differences: dict[str, Difference | None]


def judge_pair(
    dataset: ReidDataset,
    serving: ModelPackage,
    challenger: ModelPackage,
    *,
    device: str = "cpu",
    progress: Progress = lambda *_: None,
) -> JudgedPair:
    """Judge both on a dataset's query and gallery: mAP, and the official accuracy of every attribute.

    Raises:
        ModelError: the challenger cannot be judged on attributes on which the serving model can.
    """
    before = judge_model(dataset, Extractor(serving, device), Options(), progress)
    after = judge_model(dataset, Extractor(challenger, device), Options(), progress)
    if before.attributes is not None and after.attributes is None:
        why = "; ".join(after.notes) or "it predicts none"
        raise ModelError(
            f"{challenger.name} ({challenger.digest[:12]}) cannot follow {serving.name} ({serving.digest[:12]}), which "
            f"predicts attributes: {why}; train the challenger with the same attributes"
        )
    return JudgedPair(
        before=scores_of(before), after=scores_of(after), differences=differences_of(compare(after, before))
    )


def scores_of(benchmark: Benchmark) -> dict[str, Any]:
    """What the registry keeps of how a model was judged: percent, None for numbers that do not exist."""
    metrics, attributes = benchmark.metrics, benchmark.attributes
    return {
        "mAP": metrics.mAP,
        "rank1": metrics.cmc[1],
        "queries": metrics.queries,
        "gallery": len(benchmark.gallery),
        "attributes": {} if attributes is None else attributes.metrics.official,
        "attributes_mean": None if attributes is None else attributes.metrics.official_mean,
        "attributes_balanced": None if attributes is None else attributes.metrics.balanced,
        "attributes_labelled_only": {} if attributes is None else attributes.metrics.labelled_only,
        "attributes_labelled_only_mean": None if attributes is None else attributes.metrics.labelled_only_mean,
    }


def split_name(dataset: ReidDataset) -> str:
    """Name a dataset's test split for people and for ever: its folder, and the beginning of its content's digest."""
    return f"{dataset.root.resolve().name} {dataset_digest(dataset)[:12]}"
