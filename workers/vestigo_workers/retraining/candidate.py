"""From labels to a candidate model: collect data, refuse leaks, train, evaluate, decide at the gate, promote."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset, dataset_digest
from vestigo.promotion.gate import GateDecision
from vestigo.promotion.judge import PairEvaluation, split_name
from vestigo.promotion.splits import STORE_SPLIT
from vestigo.resolve import locate_model, open_model
from vestigo.review.estimates.annotator_error import count_pairs, estimate_annotator_error
from vestigo.review.labels.agreement import annotated_tasks
from vestigo.review.labels.sets import read_label_set, save_label_set
from vestigo.review.labels.training_examples import TrainingExample, read_training_examples
from vestigo.store.open import Store
from vestigo.store.review.records import LabelSet
from vestigo_models.errors import ConfigError, UsageError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.networks.weights import write_config
from vestigo_models.progress import OpenProgress
from vestigo_workers.retraining.data import collect_data, exclude_test_identities, refuse_leaks, split_own_identities
from vestigo_workers.retraining.fit import RetrainingData, RetrainMode, retrain
from vestigo_workers.retraining.promotion import (
    PromotionSettings,
    candidates_folder,
    free_folder,
    judge_candidates,
    open_serving,
    record_judgement,
    register_candidate,
)

REPLAY = 2000


@dataclass(frozen=True, kw_only=True)
class RetrainRequest(PromotionSettings):
    """All settings of `vestigo retrain`."""

    base: str  # model that is trained further: a name or digest of the registry, `default`, a folder or `hub:ID`
    # base dataset: its training split is replayed, its query and gallery are the frozen test split. None: crops of the
    # store that were not reviewed are replayed, and a fifth of its own identities is tested.
    data: Path | None = None
    version: int | None = None  # label set to learn from; None makes a new one of the labels that are agreed now
    projects: tuple[str, ...] = ()  # projects of the labels; all by default
    mode: RetrainMode = "heads"  # refit the attribute heads only, or train the whole network
    replay: int = REPLAY  # images that are replayed against forgetting
    name: str | None = None  # of the candidate; by default that of the base and the label set
    workers: int = 1
    seed: int = 0
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class CandidateResult:
    """A candidate model in `folder`, named like it; its scores and those of the serving model; the gate's verdict."""

    digest: str
    folder: Path
    base: str
    serving: str
    label_set: LabelSet
    examples: int
    replayed: int
    tested_on: str
    notes: tuple[str, ...]  # of the dataset that it was tested on
    verdict: GateDecision
    promoted: bool
    scores: PairEvaluation


def retrain_candidate(store: Store, request: RetrainRequest, open_progress: OpenProgress) -> CandidateResult:
    """Train a candidate model from labels and compare it with the serving model (without one, with the base).

    The candidate is registered with its origin and its scores, whatever the verdict. It is promoted in one transaction
    and only if it passes the gate.

    Raises:
        UsageError: No label is agreed, or no identity is left to learn from or to test on.
        DatasetError: An identity would be in training and test.
        ModelError: The base, the serving model or the name cannot be used.
        ConfigError: A setting does not fit the base.
        StoreError: Another model was promoted in the meantime.
    """
    base = open_model(store, request.base)
    if base.schema is None:
        raise ConfigError(f"model {request.base} predicts no attributes and cannot learn from labels")
    serving = open_serving(store, base)
    projects = request.projects or tuple(p.name for p in store.review.projects() if p.schema == base.schema)
    if not projects:
        raise UsageError(f"no project has the attributes of model {base.name}: create one with `vestigo label push`")
    label_set = (
        save_label_set(store, projects) if request.version is None else store.label_sets.load(request.version)[0]
    )
    pairs = count_pairs(base.schema, (task for project in projects for task in annotated_tasks(store, project)))
    error_rate = estimate_annotator_error(base.schema, pairs).rate
    examples = read_training_examples(read_label_set(store, label_set), base.schema, error_rate)
    name = request.name or f"{base.name.partition('-labels')[0]}-labels{label_set.version}"
    home = candidates_folder(store, request.folder)
    out = free_folder(home, name)
    with TemporaryDirectory(prefix=".retrain-", dir=home) as temporary:
        dataset = None if request.data is None else load_dataset(request.data, schema=base.schema)
        if dataset is None:
            test_data, examples = split_own_identities(store, base, examples, Path(temporary) / "test")
        else:
            dataset.require_attributes()
            examples = exclude_test_identities(examples)
            refuse_leaks(store, dataset, examples, open_progress("looking for leaks"))
            test_data = dataset
        folder = Path(temporary) / "crops"
        data = collect_data(store, base, dataset, examples, request.replay, folder, open_progress("replay"))
        origin = _origin(request, label_set, examples, data, dataset)
        location = locate_model(store, request.base)
        trained = retrain(
            location,
            data,
            out,
            mode=request.mode,
            workers=request.workers,
            device=request.device,
            seed=request.seed,
            epochs=request.epochs,
            progress=open_progress("learning"),
            trained_on={"retrained": origin},
        )
        write_config(out, trained.config.model_copy(update={"name": out.name}))
        candidate = ModelPackage.from_pretrained(out)
        register_candidate(store, request.base, base, out, origin)
        test = STORE_SPLIT if dataset is None else split_name(dataset)
        judgement = next(judge_candidates([candidate], serving[1], {test: test_data}, request, open_progress))
        promoted = record_judgement(store, candidate, serving, judgement, request)
    return CandidateResult(
        digest=candidate.digest,
        folder=out,
        base=base.digest,
        serving=serving[1].digest,
        label_set=label_set,
        examples=len(examples),
        replayed=data.replayed,
        tested_on=test,
        notes=() if dataset is None else dataset.notes,
        verdict=judgement.verdict,
        promoted=promoted,
        scores=judgement.scores,
    )


def _origin(
    request: RetrainRequest,
    label_set: LabelSet,
    examples: list[TrainingExample],
    data: RetrainingData,
    dataset: ReidDataset | None,
) -> dict[str, Any]:
    return {
        "label_set": label_set.version,
        "label_set_digest": label_set.digest,
        "data": None if dataset is None else dataset.source_name,
        "data_digest": None if dataset is None else dataset_digest(dataset),
        "lessons": len(examples),
        "replayed": data.replayed,
        "mode": request.mode,
        "seed": request.seed,
        "epochs": request.epochs,
        "margins": {"mAP": request.margins.mAP, "attributes": request.margins.attributes},
    }
