"""Push sampled tasks to Label Studio, each exactly once, however often the command is interrupted and repeated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from vestigo.resolve import require_attributes
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.form import build_prediction, build_task_data
from vestigo.review.label_studio.images import MAX_CROPS, ImageStorage, render_task_images
from vestigo.review.label_studio.projects import open_project, preselect_predictions
from vestigo.review.label_studio.tasks import TaskListing, create_tasks, task_request
from vestigo.review.labels.corrections import reject_corrections_project
from vestigo.review.sampling.sample import SamplingRequest, TaskSample, find_open_batch, sample_tasks, save_sample
from vestigo.store.faults import fault_point
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo.store.review.records import LabelProject, LabelTask
from vestigo_models.progress import ProgressCallback, ignore_progress

TRACKLET_DIGITS = 12  # digits of a tracklet's id in the line about a task
CHUNK = 50  # tasks of a request; their images are in memory together


@dataclass(frozen=True)
class PushResult:
    """Tasks of the project on the server, and how many of them this command created."""

    tasks: int
    created: int


@dataclass(frozen=True, kw_only=True)
class BatchPushResult:
    """Result of `push_batch`, the keys of `vestigo label push --json`."""

    project: str
    project_id: int | None
    server: str
    batch: int | None  # the batch that is now being annotated; None if no task was left to sample
    drawn: bool  # whether this command sampled it
    strategy: str
    tasks: int
    created: int
    on_server: int
    population: int  # tasks that could be sampled
    thinned: float  # their share of the archive's tasks


def push_batch(
    store: Store,
    client: LabelStudioClient,
    project: str,
    model: Model,
    request: SamplingRequest,
    images: ImageStorage,
    *,
    account: str,
    case: str | None = None,
    authority: str | None = None,
    another: bool = False,
    sample: TaskSample | None = None,
    chunk: int = CHUNK,
    read: ProgressCallback = ignore_progress,
    sent: ProgressCallback = ignore_progress,
) -> BatchPushResult:
    """Sample tasks and push them; if an earlier batch of the same request is open, push only that.

    The project is created if needed. The audit entry (`account`, `case`, `authority`) is committed before anything is
    sent. With `another` tasks are sampled even if a batch is open; `sample` is used in place of a new sample. Progress
    is in crops `read` and tasks `sent`, `chunk` tasks a request.

    Raises:
        UsageError: As `sample_tasks`, or if the project is reserved for corrections.
        ConfigError: If the server's project does not match; nothing is sampled then.
        StoreError: If the project has other attributes than the model.
        WorkError: If the server does not respond; the sample and what was sent are kept.
    """
    reject_corrections_project(project)
    open_project(client, store.review.ensure_project(project, require_attributes(model)))
    open_batch = None if another or sample is not None else find_open_batch(store, project, model, request)
    if open_batch is None:
        sample = sample or sample_tasks(store, project, model, request, read)
        batch = save_sample(store, project, sample) if sample.tasks else None
        design, tasks = sample.design, len(sample.tasks)
    else:
        batch, design, tasks = open_batch.id, open_batch.design, open_batch.tasks
    details = {"project": project, "strategy": design.strategy, "tasks": tasks, "batch": batch, "model": model.digest}
    store.audit.record(account, "push", details=details, case=case, authority=authority)
    result = push_tasks(store, client, project, partial(render_task_images, store), images, sent, chunk)
    return BatchPushResult(
        project=project,
        project_id=store.review.get_project(project).remote_id,
        server=client.url,
        batch=batch,
        drawn=open_batch is None and batch is not None,
        strategy=design.strategy,
        tasks=tasks,
        created=result.created,
        on_server=result.tasks,
        population=design.population,
        thinned=design.thinned,
    )


def push_tasks(
    store: Store,
    client: LabelStudioClient,
    project: str,
    render: Callable[[Sequence[LabelTask]], Sequence[bytes]],
    images: ImageStorage,
    progress: ProgressCallback = ignore_progress,
    chunk: int = CHUNK,
) -> PushResult:
    """Create the sampled tasks of a project on the server, in order of their positions.

    Tasks that the server has from an earlier command or a request without response are found by their keys and not
    sent again. `render` returns a JPEG for each of some tasks.
    """
    label_project = store.review.get_project(project)
    remote = open_project(client, label_project)
    fault_point("push.opened")
    store.review.link_project(project, client.url, remote)
    images.prepare(client, remote, project)
    last_id = _reconcile(store, client, remote, label_project)
    total = store.review.task_counts(project).get("drawn", 0)
    created = 0
    versions = {model.digest: f"{model.name} {model.digest[:12]}" for model in store.models.list()}
    for page in store.review.tasks(project, states={"drawn"}, rows=chunk):
        requests = {}
        for task, jpeg in zip(page, render(page), strict=True):
            image = images.save(task.key, jpeg)
            data = build_task_data(label_project.schema, task.prediction, image, _describe(task))
            preselected = build_prediction(label_project.schema, task.prediction, versions[task.model])
            requests[task.key] = task_request(task.key, data, preselected)
        ids = create_tasks(client, remote, requests, after=last_id)
        fault_point("push.sent")
        store.review.mark_pushed(project, ids)
        fault_point("push.marked")
        last_id = max(last_id, *ids.values())
        created += len(ids)
        progress(created, total)
    # Also if an earlier command sent the tasks and was interrupted before this.
    newest = next((batch for batch in reversed(store.review.samples(project)) if not batch.imported), None)
    if newest is not None:
        preselect_predictions(client, remote, versions[newest.design.model])
    if created:
        _reconcile(store, client, remote, label_project)
    return PushResult(tasks=store.review.task_counts(project).get("pushed", 0), created=created)


def reconcile_ids(store: Store, project: str, listing: TaskListing, tasks: Sequence[LabelTask]) -> None:
    """Record the ids that the server has for tasks; tasks that it does not have are not changed."""
    known = {task.key: task.remote_id if task.state == "pushed" else None for task in tasks}
    ids = listing.ids([task.key for task in tasks])
    if changed := {key: id_ for key, id_ in ids.items() if known[key] != id_}:
        store.review.mark_pushed(project, changed)


def _reconcile(store: Store, client: LabelStudioClient, remote: int, project: LabelProject) -> int:
    """Record which tasks the server has and remove copies; return its last task id."""
    with TaskListing() as listing:
        listing.read(client, remote)
        listing.remove_copies(client, remote)
        fault_point("push.listed")
        for page in store.review.tasks(project.name, states={"drawn", "pushed", "deleted"}):
            reconcile_ids(store, project.name, listing, page)
        return listing.last_id


def _describe(task: LabelTask) -> str:
    """Return a line about a task: camera, time, tracklet and number of crops."""
    time = "" if task.time is None else f"{task.time:%Y-%m-%d %H:%M:%S} UTC"
    count = len(task.crops)
    crops = f"{MAX_CROPS} of {count} crops" if count > MAX_CROPS else (f"{count} crops" if count > 1 else "")
    return " · ".join(filter(None, (task.camera, time, task.tracklet[:TRACKLET_DIGITS], crops)))
