"""The serving model and its challenger judged on the frozen test split of a dataset: one pass each, one comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vestigo.datasets.reid import ReidDataset, dataset_digest
from vestigo.evaluation.compare import compare
from vestigo.evaluation.evaluate import Benchmark, judge_model
from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.evaluation.options import Options
from vestigo.promotion.gate import GATE, MEAN_AP, Differences, differences_of
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


MEASURED = ("difference", "low", "high", "chance", "identities")
EXACT = 1e-6
"""Points by which a kept difference may miss that of the scores it was told with."""


def tests_of(scores: Mapping[str, Any]) -> list[str]:
    """The names of the tests that a model was judged on."""
    return [name for name, one in scores.items() if name != GATE and isinstance(one, dict)]


def stored_measures(
    first: Mapping[str, Any], second: Mapping[str, Any], differences: Differences
) -> dict[str, dict[str, Any]]:
    """Measure -> both scores (percent, None where there is none) and, where they are known, difference and interval."""
    before, after = ({MEAN_AP: scores.get(MEAN_AP), **scores.get("attributes", {})} for scores in (first, second))
    found = {}
    for name in dict.fromkeys((*before, *after)):
        one = differences.get(name)
        interval = dict.fromkeys(MEASURED) if one is None else asdict(one)
        found[name] = {"a": before.get(name), "b": after.get(name), **interval}
    return found


def kept_differences(scores: Mapping[str, Any]) -> dict[str, Difference | None]:
    """The differences that the gate decided on, as `recorded` kept them; none where it never did."""
    kept = scores.get(GATE, {}).get("differences", {})
    return {name: None if one is None else Difference(**one) for name, one in kept.items()}


def are_of(differences: Differences, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether differences are those of two models' scores on one test, which the registry does not say."""
    told = stored_measures(first, second, differences)
    found = [row for row in told.values() if None not in (row["a"], row["b"], row["difference"])]
    return bool(found) and all(abs(row["b"] - row["a"] - row["difference"]) <= EXACT for row in found)
