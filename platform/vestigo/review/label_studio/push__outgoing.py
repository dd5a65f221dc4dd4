"""From a wish to tasks on the server: an open batch is finished, else one is drawn and recorded; then all is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from vestigo.review.label_studio.client import Studio
from vestigo.review.label_studio.images import Images
from vestigo.review.label_studio.images__strips import task_pictures
from vestigo.review.label_studio.projects import open_project
from vestigo.review.label_studio.push import CHUNK, push
from vestigo.review.labels.importing__in_place import require_free
from vestigo.review.sampling.proposal import Proposal, Wish, open_batch, propose, record
from vestigo.search.gallery import require_attributes
from vestigo.store.open import Store
from vestigo.store.runs.records import Model


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """What a push did.

    Attributes:
        batch: the batch that now waits for reviewers, None where no task was left to draw.
        drawn: whether this command drew it.
        tasks: of the batch.
        created: tasks that this command brought to the server.
        on_server: tasks of the project there.
        population, thinned: see `vestigo.store.Draw`.
    """

    project: str
    project_id: int | None
    server: str
    batch: int | None
    drawn: bool
    strategy: str
    tasks: int
    created: int
    on_server: int
    population: int
    thinned: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def push_batch(
    store: Store,
    studio: Studio,
    project: str,
    model: Model,
    wish: Wish,
    images: Images,
    *,
    account: str,
    case: str | None = None,
    authority: str | None = None,
    another: bool = False,
    proposal: Proposal | None = None,
    chunk: int = CHUNK,
    read: Callable[[int], None] | None = None,
    sent: Callable[[int, int], None] | None = None,
) -> Outgoing:
    """Draw as wished and bring the tasks to the server; where a batch drawn like this is open, only bring that there.

    account, case, authority: of the audit log's entry, which is written before anything is sent. another: draw even so.
    proposal: what was shown for this wish, drawn in place of a new one. read: hears of crops read; sent: of tasks done
    and tasks in all.

    Raises:
        UsageError: see `propose`; a project of corrections in place.
        ConfigError: the server's project is not as it should be; nothing was drawn then.
        StoreError: the project asks for other attributes than the model predicts.
        WorkError: the server stopped to answer; the draw and what was sent are kept.
    """
    require_free(project)
    label = store.make_label_project(project, require_attributes(model))
    open_project(studio, label)
    held = None if another or proposal is not None else open_batch(store, project, model, wish)
    if held is None:
        proposal = proposal or propose(store, project, model, wish, read)
        batch = record(store, project, proposal) if proposal.tasks else None
        draw, tasks = proposal.draw, len(proposal.tasks)
    else:
        batch, draw, tasks = held.id, held.draw, held.tasks
    details = {"project": project, "strategy": draw.strategy, "tasks": tasks, "batch": batch, "model": model.digest}
    store.record_audit(account, "push", details=details, case=case, authority=authority)
    done = push(store, studio, project, partial(task_pictures, store), images, sent, chunk)
    linked = store.require_label_project(project)
    return Outgoing(
        project=project,
        project_id=linked.remote_id,
        server=studio.url,
        batch=batch,
        drawn=held is None and batch is not None,
        strategy=draw.strategy,
        tasks=tasks,
        created=done.created,
        on_server=done.tasks,
        population=draw.population,
        thinned=draw.thinned,
    )
