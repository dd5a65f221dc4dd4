"""Drawn tasks go to the server, each exactly once, however often the command is ended and begun again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from vestigo.resolve import require_attributes
from vestigo.review.label_studio.client import Studio
from vestigo.review.label_studio.form import prediction, task_data
from vestigo.review.label_studio.images import SHOWN, Images, task_pictures
from vestigo.review.label_studio.projects import open_project, preselect
from vestigo.review.label_studio.tasks import Listing, TaskUpload, import_tasks
from vestigo.review.labels.corrections import reject_corrections_project
from vestigo.review.sampling.sample import SamplingRequest, TaskSample, find_open_batch, sample_tasks, save_sample
from vestigo.store.faults import fault_point
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.review.records import LabelProject, LabelTask

SHORT = 12
"""Of a tracklet's id: enough to find it again."""
CHUNK = 50
"""Tasks of a request; their pictures are in memory together."""


@dataclass(frozen=True)
class Pushed:
    """What a push left behind: tasks of the project on the server, and how many of them this command brought there."""

    tasks: int
    created: int


def push(
    store: Store,
    studio: Studio,
    project: str,
    pictures_of: Callable[[Sequence[LabelTask]], Sequence[bytes]],
    images: Images,
    progress: Callable[[int, int], None] | None = None,
    chunk: int = CHUNK,
) -> Pushed:
    """Bring the drawn tasks of a project to the server, in order of their positions.

    What the server has already, by an earlier command or a request whose answer was lost, is found by its key and not
    sent again. pictures_of: JPEG bytes for each of some tasks. progress: hears of tasks done and tasks in all.

    Raises:
        StoreError: an unknown project.
        ConfigError: see `open_project`; nothing was sent then.
        WorkError: the server stopped to answer; what was sent is kept.
    """
    label = store.review.get_project(project)
    remote = open_project(studio, label)
    fault_point("push.opened")
    store.review.link_project(project, studio.url, remote)
    images.prepare(studio, remote, project)
    last = _reconcile(store, studio, remote, label)
    todo = store.review.task_counts(project).get("drawn", 0)
    created = 0
    versions = {model.digest: f"{model.name} {model.digest[:12]}" for model in store.models.list()}
    for page in store.review.tasks(project, states={"drawn"}, rows=chunk):
        pictures = pictures_of(page)
        uploads = [
            _upload(label, task, images.place(task.key, jpeg), versions[task.model])
            for task, jpeg in zip(page, pictures, strict=True)
        ]
        there = import_tasks(studio, remote, uploads, after=last)
        fault_point("push.sent")
        store.review.mark_pushed(project, there)
        fault_point("push.marked")
        last = max(last, *there.values())
        created += len(there)
        if progress is not None:
            progress(created, todo)
    # Also where an earlier command sent the tasks and ended before it came to this.
    newest = next((batch for batch in reversed(store.review.samples(project)) if not batch.imported), None)
    if newest is not None:
        preselect(studio, remote, versions[newest.design.model])
    if created:
        _reconcile(store, studio, remote, label)
    return Pushed(tasks=store.review.task_counts(project).get("pushed", 0), created=created)


def reconcile_ids(store: Store, project: str, listing: Listing, tasks: Sequence[LabelTask]) -> None:
    """Make the store say of tasks under which ids the server has them; those that it has not are left as they are."""
    there = listing.ids([task.key for task in tasks])
    told = {task.key: task.remote_id if task.state == "pushed" else None for task in tasks}
    if changed := {key: id_ for key, id_ in there.items() if told[key] != id_}:
        store.review.mark_pushed(project, changed)


def _reconcile(store: Store, studio: Studio, remote: int, label: LabelProject) -> int:
    """Agree with the server on what is there, remove what came twice; return its last task's id."""
    with Listing() as listing:
        listing.read(studio, remote)
        listing.remove_copies(studio, remote)
        fault_point("push.listed")
        for page in store.review.tasks(label.name, states={"drawn", "pushed", "deleted"}):
            reconcile_ids(store, label.name, listing, page)
        return listing.last


def _upload(label: LabelProject, task: LabelTask, image: str, version: str) -> TaskUpload:
    probabilities = np.array(task.prediction)
    return TaskUpload(
        task.key,
        task_data(label.schema, probabilities, image, _context(task)),
        prediction(label.schema, probabilities, version),
    )


def _context(task: LabelTask) -> str:
    time = "" if task.time is None else f"{task.time:%Y-%m-%d %H:%M:%S} UTC"
    count = len(task.crops)
    crops = f"{SHOWN} of {count} pictures" if count > SHOWN else (f"{count} pictures" if count > 1 else "")
    return " · ".join(filter(None, (task.camera, time, task.tracklet[:SHORT], crops)))


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
    wish: SamplingRequest,
    images: Images,
    *,
    account: str,
    case: str | None = None,
    authority: str | None = None,
    another: bool = False,
    proposal: TaskSample | None = None,
    chunk: int = CHUNK,
    read: Callable[[int], None] | None = None,
    sent: Callable[[int, int], None] | None = None,
) -> Outgoing:
    """Draw as wished and bring the tasks to the server; where a batch drawn like this is open, only bring that there.

    account, case, authority: of the audit log's entry, which is written before anything is sent. another: draw even so.
    proposal: what was shown for this wish, drawn in place of a new one. read: hears of crops read; sent: of tasks done
    and tasks in all.

    Raises:
        UsageError: see `sample_tasks`; a project of corrections in place.
        ConfigError: the server's project is not as it should be; nothing was drawn then.
        StoreError: the project asks for other attributes than the model predicts.
        WorkError: the server stopped to answer; the draw and what was sent are kept.
    """
    reject_corrections_project(project)
    label = store.review.ensure_project(project, require_attributes(model))
    open_project(studio, label)
    held = None if another or proposal is not None else find_open_batch(store, project, model, wish)
    if held is None:
        proposal = proposal or sample_tasks(store, project, model, wish, read)
        batch = save_sample(store, project, proposal) if proposal.tasks else None
        draw, tasks = proposal.design, len(proposal.tasks)
    else:
        batch, draw, tasks = held.id, held.design, held.tasks
    details = {"project": project, "strategy": draw.strategy, "tasks": tasks, "batch": batch, "model": model.digest}
    store.audit.record(account, "push", details=details, case=case, authority=authority)
    done = push(store, studio, project, partial(task_pictures, store), images, sent, chunk)
    linked = store.review.get_project(project)
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
