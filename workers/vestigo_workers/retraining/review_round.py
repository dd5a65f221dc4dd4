"""One round of review: sample and push tasks, wait for annotations, pull, retrain; an interrupted round continues."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vestigo.resolve import resolve_search_model
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.images import open_image_storage
from vestigo.review.label_studio.pull import PullResult, pull
from vestigo.review.label_studio.push import push_batch
from vestigo.review.sampling.sample import SamplingRequest, find_open_batch, sample_tasks
from vestigo.store.open import Store
from vestigo_models.errors import WorkError
from vestigo_models.progress import ProgressCallback
from vestigo_workers.retraining.candidate import CandidateResult, RetrainRequest


@dataclass(frozen=True, kw_only=True)
class RoundRequest:
    """Settings of a round."""

    project: str  # project of review
    sampling: SamplingRequest  # what is sampled
    images: str  # where images of tasks are served from, see `vestigo.review.label_studio.images`
    enough: float  # share of the sampled tasks that must be reviewed before retraining
    poll: float  # seconds between two pulls
    wait: float | None  # seconds to wait at most; None to wait without limit
    retraining: RetrainRequest  # how to retrain


def review_round(
    store: Store,
    studio: LabelStudioClient,
    request: RoundRequest,
    *,
    message: Callable[[str], None],
    progress: ProgressCallback,
    retrain: Callable[[RetrainRequest], CandidateResult],
) -> tuple[dict[str, int | None], CandidateResult | None]:
    """Run one round; after an error, the same round continues from what was committed.

    `message` receives one line per step, `progress` the reviewed tasks and all tasks of the batch.

    Returns:
        The id of the batch and the counts of the round; and its candidate, None if no task was reviewed.
    """
    sent = push_batch(
        store,
        studio,
        request.project,
        resolve_search_model(store),
        request.sampling,
        open_image_storage(request.images),
        account=request.retraining.account or request.retraining.by,
    )
    message(f"batch {sent.batch}: {sent.tasks} tasks by {sent.strategy}, {sent.created} sent now")
    deadline = None if request.wait is None else time.monotonic() + request.wait
    while True:
        pulled = _pull_until_answered(store, studio, request.project, message)
        reviewed = 0 if sent.batch is None else store.review.task_counts(request.project, sent.batch)["answered"]
        progress(reviewed, sent.tasks)
        if reviewed >= request.enough * sent.tasks or (deadline is not None and time.monotonic() >= deadline):
            break
        time.sleep(request.poll)
    message(
        f"{reviewed} of {sent.tasks} tasks reviewed, {pulled.corrections} corrections, "
        f"{len(pulled.conflicts)} conflicts"
    )
    counts = {"tasks": sent.tasks, "created": sent.created, "reviewed": reviewed, "corrections": pulled.corrections}
    return {"batch": sent.batch, **counts}, retrain(request.retraining) if pulled.reviewed else None


def _pull_until_answered(
    store: Store, studio: LabelStudioClient, project: str, message: Callable[[str], None]
) -> PullResult:
    while True:
        try:
            return pull(store, studio, project)
        except WorkError as error:
            message(str(error))


def plan_round(store: Store, request: RoundRequest) -> dict[str, Any]:
    """Return the steps of a round in words, without contacting the server; nothing is stored or sent."""
    model = resolve_search_model(store)
    project, sampling, retraining = request.project, request.sampling, request.retraining
    batch = find_open_batch(store, project, model, sampling) if store.review.find_project(project) else None
    if batch is None:
        sample = sample_tasks(store, project, model, sampling)
        first = (
            f"sample {len(sample.tasks)} of {len(sample.candidates.tasks)} tasks by {sampling.strategy} and push them"
        )
    else:
        first = f"continue with batch {batch.id} of {batch.tasks} tasks, which is open"
    limit = "" if request.wait is None else f", at most {request.wait / 3600:g} hours"
    test_data = (
        "a fifth of the store's people" if retraining.data is None else f"query and gallery of {retraining.data}"
    )
    return {
        "project": project,
        "steps": [
            first,
            f"wait until {request.enough:.0%} of them are reviewed{limit}, pulling every {request.poll:g} s",
            f"train {retraining.base} on the labels ({retraining.mode}), {retraining.replay} images replayed",
            f"compare with the serving model on {test_data}, and promote the candidate if it passes the gate",
        ],
    }
