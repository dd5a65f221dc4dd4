"""From corrected labels to a challenger, and past the gate: gather, look for leaks, train, judge, decide, promote."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset, dataset_digest
from vestigo.promotion.gate import Differences, Margins, Verdict, decide, recorded
from vestigo.promotion.judge import judge_pair, split_name
from vestigo.promotion.splits import NAME
from vestigo.resolve import locate_model, open_model, open_registered
from vestigo.review.estimates.annotator_error import reviewer_error
from vestigo.review.labels.agreement import reviewed_tasks
from vestigo.review.labels.rows import freeze, kept_labels
from vestigo.review.labels.training_examples import Lesson, read_lessons
from vestigo.store.models.facts import ModelFacts
from vestigo.store.open import Store
from vestigo.store.review.records import LabelSet
from vestigo_models.errors import ConfigError, UsageError
from vestigo_models.inference.package import CONFIG, ModelPackage, write_config
from vestigo_workers.indexing.request import absolute_reference
from vestigo_workers.retraining.data import Material, learn_from, people_to_test, refuse_leaks, without_test
from vestigo_workers.retraining.fit import retrain
from vestigo_workers.runs.driver import Report

Stage = Callable[[str], Report]
REPLAY = 2000


@dataclass(frozen=True, kw_only=True)
class ChallengeRequest:
    """What `vestigo retrain` can be told.

    Attributes:
        base: model that is trained on: a name or digest of the registry, `default`, a folder or `hub:ID`.
        data: base data, a dataset: its training split is replayed, its query and gallery are the frozen test split.
            None: unreviewed crops of the store are replayed, and a fifth of the store's own people is tested on.
        version: label set to learn from; None keeps what is agreed on now as one.
        projects: whose labels that is; all by default.
        mode: refit the attribute heads only, or train the whole network on.
        replay: images that are replayed against forgetting.
        margins: what may be lost.
        name: of the challenger; by default that of the base and the label set.
        folder: where challengers are kept; by default `models` beside the store.
        promote: whether a challenger that passes is promoted.
        by: who asks.
        account: who the audit log names for a promotion; the same by default.
    """

    base: str
    data: Path | None = None
    version: int | None = None
    projects: tuple[str, ...] = ()
    mode: Literal["heads", "all"] = "heads"
    replay: int = REPLAY
    margins: Margins = field(default_factory=Margins)
    name: str | None = None
    folder: Path | None = None
    promote: bool = True
    by: str = ""
    account: str | None = None
    workers: int = 1
    device: str = "cpu"
    seed: int = 0
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """How it ended; `before` and `after` are scores of the serving model and the challenger in percent."""

    model: str
    digest: str
    folder: Path
    base: str
    serving: str
    label_set: LabelSet
    lessons: int
    replayed: int
    tested_on: str
    verdict: Verdict
    promoted: bool
    before: dict[str, Any]
    after: dict[str, Any]
    differences: Differences


def challenge(store: Store, request: ChallengeRequest, stage: Stage) -> Challenge:
    """Train a challenger from corrected labels and judge it against the model that serves (without one, the base).

    The challenger is registered with where it comes from and how it was judged, whatever the gate says; it is promoted
    in one transaction, and only if it passes.

    Raises:
        UsageError: nothing is agreed on yet, or nobody is left to learn from or to test on.
        DatasetError: somebody would be learnt from and tested on.
        ModelError, ConfigError: the base, the serving model or the name cannot be used.
        StoreError: another model was promoted meanwhile.
    """
    base = open_model(store, request.base)
    if base.schema is None:
        raise ConfigError(f"model {request.base} predicts no attributes, so that no corrected label can teach it")
    serving_digest = store.models.serving()
    known = {model.digest: model for model in store.models.list()}
    serving = base if serving_digest is None else open_registered(known[serving_digest])
    names = request.projects or tuple(p.name for p in store.review.projects() if p.schema == base.schema)
    if not names:
        raise UsageError(f"no project asks for the attributes of model {base.name}: `vestigo label push` makes one")
    kept = freeze(store, names) if request.version is None else store.label_sets.load(request.version)[0]
    lessons = read_lessons(kept_labels(store, kept), base.schema, _error_rate(store, names, base))
    name = request.name or f"{base.name.partition('-labels')[0]}-labels{kept.version}"
    home = request.folder or _home(store)
    out = _free(home, name)
    with TemporaryDirectory(prefix=".retrain-", dir=_made(home)) as work:
        dataset = None if request.data is None else load_dataset(request.data)
        if dataset is None:
            tested, lessons = people_to_test(store, base, lessons, Path(work) / "test")
        else:
            dataset.require_attributes()
            lessons = without_test(lessons)
            refuse_leaks(store, dataset, lessons, stage("looking for leaks"))
            tested = dataset
        material = learn_from(store, base, dataset, lessons, request.replay, Path(work) / "crops", stage("replay"))
        origin = _origin(request, kept, lessons, material, dataset)
        made = retrain(
            locate_model(store, request.base),
            material.data,
            out,
            mode=request.mode,
            workers=request.workers,
            device=request.device,
            seed=request.seed,
            epochs=request.epochs,
            progress=stage("learning"),
            trained_on={"retrained": origin},
        )
        write_config(out, made.config.model_copy(update={"name": out.name}))
        challenger = ModelPackage.from_pretrained(out)
        if base.digest not in known:
            place = absolute_reference(locate_model(store, request.base))
            store.models.register(base.digest, name=base.name, location=place, facts=ModelFacts.of(base))
        place = str(out.resolve())
        store.models.register(challenger.digest, name=out.name, location=place, facts=ModelFacts.of(challenger))
        store.models.record_training(challenger.digest, base.digest, origin)
        bars: dict[str, Report] = {}

        def judged(what: str, done: int, total: int) -> None:
            bars.setdefault(what, stage(f"judging: {what}"))(done, total)

        pair = judge_pair(tested, serving, challenger, device=request.device, progress=judged)
        test = NAME if dataset is None else split_name(dataset)
    verdict = decide(pair.differences, request.margins)
    gate = recorded(verdict, serving_digest, pair.differences)
    store.models.record_scores(challenger.digest, {test: pair.after, **gate})
    store.models.record_scores(serving.digest, {test: pair.before})
    promoted = verdict.promoted and request.promote
    if promoted:
        store.models.promote(
            challenger.digest,
            by=request.by,
            reasons=verdict.reasons,
            expected_before=serving_digest,
            account=request.account,
        )
    return Challenge(
        model=out.name,
        digest=challenger.digest,
        folder=out,
        base=base.digest,
        serving=serving.digest,
        label_set=kept,
        lessons=len(lessons),
        replayed=material.replayed,
        tested_on=test,
        verdict=verdict,
        promoted=promoted,
        before=pair.before,
        after=pair.after,
        differences=pair.differences,
    )


def _error_rate(store: Store, names: tuple[str, ...], base: ModelPackage) -> float:
    assert base.schema is not None
    return reviewer_error(base.schema, (task for name in names for task in reviewed_tasks(store, name))).rate


def _origin(
    request: ChallengeRequest,
    kept: LabelSet,
    lessons: list[Lesson],
    material: Material,
    dataset: ReidDataset | None,
) -> dict[str, Any]:
    return {
        "label_set": kept.version,
        "label_set_digest": kept.digest,
        "data": None if dataset is None else dataset.root.resolve().name,
        "data_digest": None if dataset is None else dataset_digest(dataset),
        "lessons": len(lessons),
        "replayed": material.replayed,
        "mode": request.mode,
        "seed": request.seed,
        "epochs": request.epochs,
        "margins": {"mAP": request.margins.mAP, "attributes": request.margins.attributes},
    }


def _home(store: Store) -> Path:
    place = Path(store.ref)
    return (place if place.is_dir() else place.parent) / "models"


def _made(home: Path) -> Path:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def _free(home: Path, name: str) -> Path:
    """A folder that is not there yet: `name`, or with a number behind it."""
    for number in range(1, 10_000):
        out = home / (name if number == 1 else f"{name}.{number}")
        if not (out / CONFIG).exists():
            shutil.rmtree(out, ignore_errors=True)
            return out
    raise UsageError(f"{home} holds ten thousand models called {name}: choose another --name")
