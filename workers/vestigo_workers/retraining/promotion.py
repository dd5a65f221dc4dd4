"""What every candidate model goes through: a folder, the registry, the gate, and promotion in one transaction."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from vestigo.datasets.reid import ReidDataset
from vestigo.evaluation.metrics.bootstrap import Difference
from vestigo.promotion.gate import MEAN_AP, RENDERED, GateDecision, Margins, decide_promotion, gate_record
from vestigo.promotion.judge import PairEvaluation, evaluate_candidates
from vestigo.resolve import locate_model, open_registered
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo_models.errors import UsageError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.weights import CONFIG
from vestigo_models.progress import OpenProgress
from vestigo_workers.indexing.request import absolute_reference


@dataclass(frozen=True, kw_only=True)
class PromotionSettings:
    """How a candidate model is stored, judged and promoted."""

    margins: Margins = field(default_factory=Margins)  # losses that the gate accepts
    folder: Path | None = None  # folder of candidates; by default `models` in the folder of the store
    promote: bool = True  # whether a candidate that passes is promoted
    by: str = ""  # name that the promotion records
    account: str | None = None  # name that the audit log records for a promotion; `by` by default
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The gate's decision on a candidate, on all tests together.

    Attributes:
        pairs: Test -> its scores and those of the serving model, the first test first.
        differences: Measure -> by how much it is better; those of other tests than the first are `TEST: MEASURE`. Of
            rendered people only retrieval counts, as `rendered people: mAP`.
        verdict: The decision on all differences.
    """

    pairs: Mapping[str, PairEvaluation]
    differences: dict[str, Difference | None]
    verdict: GateDecision

    @property
    def scores(self) -> PairEvaluation:
        """The scores on the first test, with the differences of all tests."""
        return replace(next(iter(self.pairs.values())), differences=self.differences)


def candidates_folder(store: Store, folder: Path | None) -> Path:
    """Return the folder of candidate models, made if need be: `folder`, or `models` in the folder of the store."""
    place = Path(store.ref)
    home = folder or (place if place.is_dir() else place.parent) / "models"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def free_folder(home: Path, name: str) -> Path:
    """Return a folder that does not exist: `name`, or `name.2`, `name.3`, ..."""
    for number in range(1, 10_000):
        out = home / (name if number == 1 else f"{name}.{number}")
        if not (out / CONFIG).exists():
            shutil.rmtree(out, ignore_errors=True)
            return out
    raise UsageError(f"{home} holds ten thousand models called {name}: choose another --name")


def open_serving(store: Store, base: ModelPackage) -> tuple[str | None, ModelPackage]:
    """Return the digest of the serving model, None without one, and its package, without one the base's."""
    digest = store.models.serving()
    if digest is None:
        return None, base
    return digest, open_registered(next(model for model in store.models.list() if model.digest == digest))


def register_candidate(store: Store, base_ref: str, base: ModelPackage, folder: Path, origin: dict[str, Any]) -> None:
    """Register a candidate package with its base and its origin; the base is registered too."""
    if base.digest not in {model.digest for model in store.models.list()}:
        location = absolute_reference(locate_model(store, base_ref))
        store.models.register(base.digest, name=base.name, location=location, facts=ModelFacts.of(base))
    candidate = ModelPackage.from_pretrained(folder)
    facts = ModelFacts.of(candidate)
    store.models.register(candidate.digest, name=folder.name, location=str(folder.resolve()), facts=facts)
    store.models.record_training(candidate.digest, base.digest, origin)


def judge_candidates(
    candidates: Sequence[ModelPackage],
    serving: ModelPackage,
    tests: Mapping[str, ReidDataset],
    settings: PromotionSettings,
    open_progress: OpenProgress,
    *,
    gain: str | None = None,
) -> Iterator[Judgement]:
    """Compare candidates with the serving model, one after the other; the serving model is evaluated once.

    Args:
        candidates: Candidates, each evaluated only when the one before was judged.
        serving: The serving model.
        tests: Test data by the name that the registry keeps.
        settings: Margins of the gate.
        open_progress: Opens progress displays.
        gain: What is better about the candidates without labels, as `decide_promotion` takes it.
    """
    # All models are shown in the same bars.
    open_bar = cache(lambda stage: open_progress(f"judging: {stage}"))
    evaluations = [
        evaluate_candidates(dataset, serving, candidates, device=settings.device, progress=open_bar)
        for dataset in tests.values()
    ]
    for row in zip(*evaluations, strict=True):
        pairs = dict(zip(tests, row, strict=True))
        first = next(iter(pairs))
        differences = {
            measure if name == first and name != RENDERED else f"{name}: {measure}": difference
            for name, pair in pairs.items()
            for measure, difference in pair.differences.items()
            if name != RENDERED or measure == MEAN_AP
        }
        verdict = decide_promotion(differences, settings.margins, gain=gain)
        yield Judgement(pairs=pairs, differences=differences, verdict=verdict)


def record_judgement(
    store: Store,
    candidate: ModelPackage,
    serving: tuple[str | None, ModelPackage],
    judgement: Judgement,
    settings: PromotionSettings,
) -> bool:
    """Record the scores of a registered candidate and the gate's decision; promote it if it passed, and return whether.

    `serving` is what `open_serving` returned before the training.

    Raises:
        StoreError: If another model was promoted in the meantime.
    """
    digest, package = serving
    verdict, pairs = judgement.verdict, judgement.pairs
    gate = gate_record(verdict, digest, judgement.differences)
    store.models.record_scores(candidate.digest, {**{name: pair.after for name, pair in pairs.items()}, **gate})
    store.models.record_scores(package.digest, {name: pair.before for name, pair in pairs.items()})
    if not (verdict.promoted and settings.promote):
        return False
    store.models.promote(
        candidate.digest, by=settings.by, reasons=verdict.reasons, expected_before=digest, account=settings.account
    )
    return True
