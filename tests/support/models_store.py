"""A store whose registry has seen a few rounds, for the screen: parents, a gate, promotions."""

from __future__ import annotations

from pathlib import Path

from tests.support.fake_pipeline import MODEL
from tests.support.random_models import random_model
from tests.support.review_archive import SCHEMA, fill, people
from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.promotion.gate import Margins, decide_promotion, gate_record
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo_models.inference.package import ModelPackage

TEST = "Market-1501 0123456789ab"
BETTER = {
    "mAP": Difference(difference=0.5, low=-1.0, high=2.0, chance=0.5, identities=60),
    "hat": Difference(difference=8.0, low=6.0, high=10.0, chance=0.0001, identities=60),
    "colour": None,
}
WORSE = {"hat": Difference(difference=-7.3, low=-9.1, high=-5.2, chance=0.001, identities=40)}


def scores(mAP: float, hat: float, balanced: float) -> dict[str, object]:
    """As the registry keeps them."""
    return {
        "mAP": mAP,
        "rank1": 70.0,
        "attributes": {"hat": hat, "colour": 60.0},
        "attributes_mean": (hat + 60.0) / 2,
        "attributes_balanced": balanced,
    }


def models_store(ref: Path, packages: Path) -> tuple[Path, dict[str, str]]:
    """Make the store; return it, and digests by name.

    `fake` has the crops, serves and is nowhere by now; `better` passed the gate against it, `worse` was refused, and
    both lie in `packages`.
    """
    rows, _ = people(12)
    fill(ref, rows)
    digests = {"fake": MODEL}
    with Store.open(ref) as store:
        store.models.promote(MODEL, by="ann", reasons=["the first"], expected_before=None)
        store.models.record_scores(MODEL, {TEST: scores(50.0, 80.0, 71.5)})
        for seed, (name, differences) in enumerate((("better", BETTER), ("worse", WORSE))):
            package = ModelPackage.from_pretrained(random_model(packages / name, name=name, seed=seed))
            digests[name] = package.digest
            store.models.register(
                package.digest,
                name=name,
                location=str(packages / name),
                facts=ModelFacts(blocks=(4,), attributes=SCHEMA),
            )
            store.models.record_training(package.digest, MODEL, {"label_set": seed + 1, "lessons": 40, "mode": "heads"})
            gate = gate_record(decide_promotion(differences, Margins()), MODEL, differences)
            judged = scores(50.5, 88.0, 72.25) if name == "better" else scores(50.0, 72.7, 70.0)
            store.models.record_scores(package.digest, {TEST: judged, **gate})
    return ref, digests
