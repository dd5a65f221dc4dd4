"""Compare two models on one dataset by a paired bootstrap over identities."""

from dataclasses import dataclass, field

import numpy as np

from vestigo.evaluation.evaluate import Evaluation
from vestigo.evaluation.metrics.bootstrap import Difference, compare_accuracies, compare_map
from vestigo.evaluation.metrics.ranking import SCORED


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
