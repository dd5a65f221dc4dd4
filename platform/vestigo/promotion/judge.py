"""Evaluate the serving and the candidate model on the same test images, and read the scores that the registry keeps."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vestigo.datasets.reid import ReidDataset, dataset_digest
from vestigo.evaluation.evaluate import compare, evaluate_model
from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo.evaluation.result import Evaluation
from vestigo.promotion.gate import GATE, MEAN_AP, Differences
from vestigo_models.errors import ModelError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage
from vestigo_models.progress import OpenProgress, ignore_stages

_DIFFERENCE_KEYS = ("difference", "low", "high", "chance", "identities")
ROUNDING = 1e-6
"""Percentage points by which a stored difference may deviate from that of the stored scores."""


@dataclass(frozen=True, kw_only=True)
class PairEvaluation:
    """Two models on the same test images."""

    before: dict[str, Any]  # scores of the serving model in percent, see `summarize_scores`
    after: dict[str, Any]
    differences: dict[str, Difference | None]  # by how much the candidate is better, for the gate


def evaluate_pair(
    dataset: ReidDataset,
    serving: ModelPackage,
    candidate: ModelPackage,
    *,
    device: str = "cpu",
    progress: OpenProgress = ignore_stages,
) -> PairEvaluation:
    """Evaluate both models on a dataset's query and gallery: mAP, and the official accuracy of every attribute.

    Raises ModelError if the serving model can be evaluated on attributes and the candidate cannot.
    """
    return next(evaluate_candidates(dataset, serving, [candidate], device=device, progress=progress))


def evaluate_candidates(
    dataset: ReidDataset,
    serving: ModelPackage,
    candidates: Iterable[ModelPackage],
    *,
    device: str = "cpu",
    progress: OpenProgress = ignore_stages,
) -> Iterator[PairEvaluation]:
    """Yield what `evaluate_pair` returns for each candidate, one after the other; the serving model is evaluated once.

    Raises ModelError as `evaluate_pair`.
    """
    options = EvaluationOptions()
    before = evaluate_model(dataset, Extractor(serving, device), options, progress)
    for candidate in candidates:
        after = evaluate_model(dataset, Extractor(candidate, device), options, progress)
        if before.attributes is not None and after.attributes is None:
            reason = "; ".join(after.notes) or "it predicts none"
            raise ModelError(
                f"{candidate.name} ({candidate.digest[:12]}) cannot follow {serving.name} ({serving.digest[:12]}), "
                f"which predicts attributes: {reason}; train the candidate with the same attributes"
            )
        yield PairEvaluation(
            before=summarize_scores(before),
            after=summarize_scores(after),
            differences=compare(after, before).measures(),
        )


def summarize_scores(evaluation: Evaluation) -> dict[str, Any]:
    """Return the scores that the registry keeps of an evaluation: percent, None for numbers that do not exist."""
    metrics, attributes = evaluation.metrics, evaluation.attributes
    return {
        "mAP": metrics.mAP,
        "rank1": metrics.cmc[1],
        "queries": metrics.queries,
        "gallery": len(evaluation.gallery),
        "attributes": {} if attributes is None else attributes.metrics.official,
        "attributes_mean": None if attributes is None else attributes.metrics.official_mean,
        "attributes_balanced": None if attributes is None else attributes.metrics.balanced,
        "attributes_labelled_only": {} if attributes is None else attributes.metrics.labelled_only,
        "attributes_labelled_only_mean": None if attributes is None else attributes.metrics.labelled_only_mean,
    }


def split_name(dataset: ReidDataset) -> str:
    """Return a stable name of a dataset's test split: its folder and the first digits of its content's digest."""
    return f"{dataset.source_name} {dataset_digest(dataset)[:12]}"


def split_names(scores: Mapping[str, Any]) -> list[str]:
    """Return the names of the test splits that a model was evaluated on."""
    return [name for name, entry in scores.items() if name != GATE and isinstance(entry, dict)]


def compare_scores(
    first: Mapping[str, Any], second: Mapping[str, Any], differences: Differences
) -> dict[str, dict[str, Any]]:
    """Return measure -> both scores in percent, difference and interval; None for numbers that do not exist."""
    before, after = ({MEAN_AP: scores.get(MEAN_AP), **scores.get("attributes", {})} for scores in (first, second))
    rows = {}
    for name in dict.fromkeys((*before, *after)):
        difference = differences.get(name)
        interval = dict.fromkeys(_DIFFERENCE_KEYS) if difference is None else asdict(difference)
        rows[name] = {"a": before.get(name), "b": after.get(name), **interval}
    return rows


def stored_differences(scores: Mapping[str, Any]) -> dict[str, Difference | None]:
    """Return the differences that the gate compared, as `gate_record` stored them; empty without a result."""
    stored = scores.get(GATE, {}).get("differences", {})
    return {name: None if entry is None else Difference(**entry) for name, entry in stored.items()}


def matches_scores(differences: Differences, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether differences are those of two models' scores on one test, which the registry does not record."""
    rows = compare_scores(first, second, differences).values()
    known = [row for row in rows if None not in (row["a"], row["b"], row["difference"])]
    return bool(known) and all(abs(row["b"] - row["a"] - row["difference"]) <= ROUNDING for row in known)
