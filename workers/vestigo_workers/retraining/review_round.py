"""One round of review: draw and push, wait for reviewers, pull, retrain, gate; interrupted, it goes on there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vestigo.resolve import resolve_search_model
from vestigo.review.label_studio.client import Studio
from vestigo.review.label_studio.images import open_images
from vestigo.review.label_studio.pull import Pulled, pull
from vestigo.review.label_studio.push import push_batch
from vestigo.review.sampling.sample import SamplingRequest, find_open_batch, sample_tasks
from vestigo.store.open import Store
from vestigo_models.errors import WorkError
from vestigo_workers.retraining.candidate import Challenge, ChallengeRequest


@dataclass(frozen=True, kw_only=True)
class RoundRequest:
    """What a round is to do.

    Attributes:
        images: where pictures lie, see `vestigo.review.label_studio.images`.
        enough: share of the batch's tasks that must be reviewed to go on.
        poll: seconds between two looks at the server.
        wait: seconds to wait at most; None for as long as it takes.
        challenge: how to learn.
    """

    project: str
    wish: SamplingRequest
    images: str
    enough: float
    poll: float
    wait: float | None
    challenge: ChallengeRequest


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a round did; `challenge` is None where nothing was reviewed."""

    batch: int | None
    tasks: int
    created: int
    reviewed: int
    corrections: int
    challenge: Challenge | None


def review_round(
    store: Store,
    studio: Studio,
    request: RoundRequest,
    *,
    say: Callable[[str], None],
    reviewed: Callable[[int, int | None], None],
    retrain: Callable[[ChallengeRequest], Challenge],
) -> Round:
    """Do one round. `say` hears of its steps, `reviewed` of tasks reviewed and tasks in all.

    Raises what its steps raise; whatever was committed before is kept, and the same round again goes on there.
    """
    model = resolve_search_model(store)
    sent = push_batch(
        store,
        studio,
        request.project,
        model,
        request.wish,
        open_images(request.images),
        account=request.challenge.account or request.challenge.by,
    )
    say(f"batch {sent.batch}: {sent.tasks} tasks by {sent.strategy}, {sent.created} sent now")
    until = None if request.wait is None else time.monotonic() + request.wait
    while True:
        found, answered = _look(store, studio, request.project, sent.batch, say)
        reviewed(answered, sent.tasks)
        if answered >= request.enough * sent.tasks or (until is not None and time.monotonic() >= until):
            break
        time.sleep(request.poll)
    say(f"{answered} of {sent.tasks} tasks reviewed, {found.corrections} corrections, {len(found.conflicts)} conflicts")
    return Round(
        batch=sent.batch,
        tasks=sent.tasks,
        created=sent.created,
        reviewed=answered,
        corrections=found.corrections,
        challenge=retrain(request.challenge) if found.reviewed else None,
    )


def foresee(store: Store, request: RoundRequest) -> dict[str, Any]:
    """Say what a round would do, without the server; nothing is kept or sent."""
    model = resolve_search_model(store)
    held = (
        find_open_batch(store, request.project, model, request.wish)
        if store.review.find_project(request.project)
        else None
    )
    if held is None:
        draw = sample_tasks(store, request.project, model, request.wish)
        first = f"draw {len(draw.tasks)} of {len(draw.candidates.tasks)} tasks by {request.wish.strategy} and push them"
    else:
        first = f"go on with batch {held.id} of {held.tasks} tasks, which is open"
    asked = request.challenge
    patience = "" if request.wait is None else f", at most {request.wait / 3600:g} hours"
    tested = "a fifth of the store's people" if asked.data is None else f"query and gallery of {asked.data}"
    return {
        "project": request.project,
        "steps": [
            first,
            f"wait until {request.enough:.0%} of them are reviewed{patience}, looking every {request.poll:g} s",
            f"learn from the corrections ({asked.mode}) starting from {asked.base}, {asked.replay} images replayed",
            f"compare with the model that serves on {tested}, and promote what passes",
        ],
    }


def _look(
    store: Store, studio: Studio, project: str, batch: int | None, say: Callable[[str], None]
) -> tuple[Pulled, int]:
    """Pull, however long the server does not answer; return what came, and how many of the batch are reviewed."""
    while True:
        try:
            found = pull(store, studio, project)
            break
        except WorkError as error:
            say(str(error))
    return found, 0 if batch is None else store.review.task_counts(project, batch)["answered"]
