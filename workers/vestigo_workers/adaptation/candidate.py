"""From the crops of a store to an adapted candidate model: collect crops, adapt, judge at the gate, promote."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.datasets.synthetic import write_rendered
from vestigo.promotion.gate import RENDERED, GateDecision
from vestigo.promotion.judge import PairEvaluation, split_name
from vestigo.promotion.splits import STORE_SPLIT
from vestigo.resolve import locate_model, open_model, resolve_replay_model
from vestigo.store.faults import fault_point
from vestigo.store.open import Store
from vestigo_models.adaptation.config import AdaptationConfig
from vestigo_models.adaptation.run import EpochRecord
from vestigo_models.errors import ModelError
from vestigo_models.inference.average import average_packages
from vestigo_models.inference.package import ModelPackage, PackageConfig, resolve_model
from vestigo_models.networks.weights import CONFIG, read_config
from vestigo_models.progress import OpenProgress
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_workers.adaptation.data import CollectedCrops, collect_crops, own_test_set
from vestigo_workers.adaptation.fit import adapt_package
from vestigo_workers.retraining.promotion import (
    Judgement,
    PromotionSettings,
    candidates_folder,
    free_folder,
    judge_candidates,
    open_serving,
    record_judgement,
    register_candidate,
)

MAX_CROPS = 12_000
"""Crops that a model adapts to at most by default."""
SHARES = (1.0, 0.75, 0.5, 0.25)
"""Shares of the adapted weights in a candidate, the rest being the base's; the first one that passes is taken."""
RENDERED_TEST: dict[str, Any] = {"identities": 80, "cameras": 4, "images_per_camera": 2, "seed": 977}
"""Rendered people that no shipped model was trained on; half of the identities are tested."""


@dataclass(frozen=True, kw_only=True)
class AdaptRequest(PromotionSettings):
    """All settings of `vestigo adapt`."""

    base: str | None = None  # model that adapts: a reference, see `vestigo.resolve`; by default the serving model
    data: Path | None = None  # labelled dataset whose query and gallery judge the candidate too
    crops: int = MAX_CROPS  # crops that the model adapts to at most
    config: AdaptationConfig = field(default_factory=AdaptationConfig)
    name: str | None = None  # of the candidate; by default that of the base with `-adapted`
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class AdaptResult:
    """An adapted candidate, its scores and those of the serving model, and the gate's decision."""

    digest: str
    folder: Path
    base: str
    serving: str
    crops: int
    tracklets: int
    cameras: int
    records: tuple[EpochRecord, ...]  # of the base and of every epoch
    best: EpochRecord  # of the epoch whose teacher is adapted
    share: float  # of its weights in the candidate, see `SHARES`; 0 without a candidate
    tested_on: tuple[str, ...]
    notes: tuple[str, ...]  # of the datasets that it was tested on
    verdict: GateDecision
    promoted: bool
    scores: PairEvaluation | None  # on the first test; None if no epoch was better than the base


def adapt_candidate(store: Store, request: AdaptRequest, open_progress: OpenProgress) -> AdaptResult:
    """Adapt a model to the unlabelled crops of a store and compare it with the serving model.

    An adaptation that was interrupted continues if the same command is given for the same crops. The candidate is
    registered with its origin and scores, whatever the decision. It is promoted in one transaction and only if it
    passes the gate: the label-free criterion improved, and neither rendered people nor the labels that the store or
    `data` has show a loss. If the adapted weights do not pass, averages with the base's are tried (`SHARES`). Without a
    better epoch than the base there is no candidate.

    Raises:
        UsageError: There are too few crops, clusters or cameras.
        ModelError: The base or the serving model cannot be used.
        StoreError: The store is empty, or another model was promoted in the meantime.
        WorkError: A worker died, or the loss is not finite.
    """
    reference = request.base or store.models.serving() or "default"
    base = open_model(store, reference)
    serving = open_serving(store, base)
    home = candidates_folder(store, request.folder)
    crops_of = resolve_replay_model(store, base.digest).digest
    with TemporaryDirectory(prefix=".adapt-crops-", dir=home) as temporary:
        collected = collect_crops(store, crops_of, request.crops, Path(temporary) / "crops", open_progress("crops"))
        key = _key(base, request, collected)
        margins = asdict(request.margins)
        out, work = _find_candidate(home, key, margins), home / f".adapt-{key[:16]}"
        if out is None:
            adapt_package(
                resolve_model(locate_model(store, reference)),
                collected.data,
                request.config,
                work,
                workers=request.workers,
                device=request.device,
                open_progress=open_progress,
                trained_on={"adapted": {"base": base.digest, "key": key}},
            )
        adapted = ModelPackage.from_pretrained(out or work)
        records = tuple(EpochRecord(**record) for record in adapted.config.trained_on["adaptation"]["epochs"])
        best = max(records, key=lambda record: (record.criterion, -record.epoch))
        facts: dict[str, Any] = {
            "base": base.digest,
            "serving": serving[1].digest,
            "crops": len(collected.data),
            "tracklets": int(collected.data.tracklets.max()) + 1,
            "cameras": int(collected.data.cameras.max()) + 1,
            "records": records,
            "best": best,
        }
        name = request.name or f"{base.name.removesuffix('-adapted')}-adapted"
        if best.epoch == 0:
            shutil.rmtree(work)
            return _no_candidate(adapted.digest, home / name, facts)
        tests = _tests(store, crops_of, base.schema, request.data, Path(temporary), open_progress)
        gain = (
            f"silhouette across cameras {records[0].criterion:.3f} before, {best.criterion:.3f} after epoch "
            f"{best.epoch}"
        )
        candidates = [adapted] if out is not None else [average_packages(base, adapted, share) for share in SHARES]
        judgements = judge_candidates(candidates, serving[1], tests, request, open_progress, gain=gain)
        chosen, judgement = _first_passing(judgements)
        if out is None:
            out = free_folder(home, name)
            written = Path(temporary) / "candidate"
            _write_candidate(candidates[chosen], written, out.name, {"share": SHARES[chosen], "margins": margins})
            fault_point("adapt.finished")
            written.rename(out)
            fault_point("adapt.stored")
        candidate = ModelPackage.from_pretrained(out)
        origin = candidate.config.trained_on["adaptation"]
        if origin["share"] == 1 and judgement.verdict.promoted:
            # Else the adapted weights stay, as wider margins may let more of them pass.
            shutil.rmtree(work, ignore_errors=True)
        register_candidate(store, reference, base, out, {"adapted": origin})
        settings = replace(request, promote=request.promote and serving[0] != candidate.digest)
        promoted = record_judgement(store, candidate, serving, judgement, settings)
    return AdaptResult(
        **facts,
        digest=candidate.digest,
        folder=out,
        share=origin["share"],
        tested_on=tuple(tests),
        notes=tuple(text for dataset in tests.values() for text in dataset.notes),
        verdict=judgement.verdict,
        promoted=promoted,
        scores=judgement.scores,
    )


def _no_candidate(digest: str, folder: Path, facts: Mapping[str, Any]) -> AdaptResult:
    """Return the result of an adaptation without a better epoch than the base."""
    before, *after = (record.criterion for record in facts["records"])
    reason = (
        f"no epoch improved on the base: silhouette across cameras {before:.3f} before, at most "
        f"{max(after, default=0.0):.3f} after"
    )
    refused = GateDecision(promoted=False, reasons=(reason,))
    return AdaptResult(
        **facts,
        digest=digest,
        folder=folder,
        share=0.0,
        tested_on=(),
        notes=(),
        verdict=refused,
        promoted=False,
        scores=None,
    )


def _first_passing(judgements: Iterator[Judgement]) -> tuple[int, Judgement]:
    """Return the position and judgement of the first candidate that passes the gate; of the first one if none does."""
    seen: list[Judgement] = []
    for judgement in judgements:
        seen.append(judgement)
        if judgement.verdict.promoted:
            return len(seen) - 1, judgement
    return 0, seen[0]


def _write_candidate(package: ModelPackage, folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Write a candidate with its name; the facts are added to those of its adaptation."""
    trained_on = package.config.trained_on
    changes = {"name": name, "trained_on": {**trained_on, "adaptation": {**trained_on["adaptation"], **facts}}}
    ModelPackage(package.config.model_copy(update=changes), package.network).save_pretrained(folder)


def _key(base: ModelPackage, request: AdaptRequest, collected: CollectedCrops) -> str:
    """Return the SHA-256 of everything that decides the adapted weights."""
    settings = request.config.model_dump(mode="json", exclude={"cache_gib"})
    values = [base.digest, settings, request.workers, request.device, collected.digest]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _find_candidate(home: Path, key: str, margins: Mapping[str, float]) -> Path | None:
    """Return the folder of the candidate that an earlier run with the same key and margins left, None without one."""
    for config in sorted(home.glob(f"[!.]*/{CONFIG}")):
        try:
            trained_on = read_config(config.parent, PackageConfig, "model").trained_on
        except ModelError:
            continue
        if trained_on.get("adapted", {}).get("key") == key and trained_on["adaptation"].get("margins") == margins:
            return config.parent
    return None


def _tests(
    store: Store,
    crops_of: str,
    schema: AttributeSchema | None,
    data: Path | None,
    folder: Path,
    open_progress: OpenProgress,
) -> Mapping[str, ReidDataset]:
    """Return the test data of the gate by name: the given dataset, the store's own people, rendered people."""
    tests: dict[str, ReidDataset] = {}
    if data is not None:
        dataset = load_dataset(data, schema=schema)
        tests[split_name(dataset)] = dataset
    if (own := own_test_set(store, crops_of, schema, folder / "test")) is not None:
        tests[STORE_SPLIT] = own
    write_rendered(folder / "rendered", **RENDERED_TEST, progress=open_progress("rendering the test"))
    tests[RENDERED] = load_dataset(folder / "rendered", schema=schema)
    return tests
