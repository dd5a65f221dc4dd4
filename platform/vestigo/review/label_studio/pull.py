"""Pull annotations from Label Studio: after a pull the store has exactly those of the server."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.projects import find_project
from vestigo.review.label_studio.push import reconcile_ids
from vestigo.review.label_studio.tasks import TaskListing
from vestigo.review.labels.agreement import annotated_tasks
from vestigo.store.faults import fault_point
from vestigo.store.open import Store
from vestigo_models.errors import WorkError
from vestigo_models.progress import ProgressCallback, ignore_progress

ON_SERVER = frozenset({"drawn", "pushed", "deleted"})


@dataclass
class PullResult:
    """Result of a pull; `skipped` and `conflicts` have a line for each."""

    tasks: int = 0  # on the server
    reviewed: int = 0  # tasks with an annotation
    pulled: int = 0  # annotations that are new, changed or deleted since the last pull
    deleted: int = 0  # tasks that were deleted on the server since the last pull, with their annotations
    skipped: list[str] = field(default_factory=list)  # annotations that do not fit the form: the store has none of them
    corrections: int = 0  # labels of all tasks that differ from the prediction
    conflicts: list[str] = field(default_factory=list)  # attributes of tasks on which annotators do not agree


def pull(
    store: Store, client: LabelStudioClient, project: str, progress: ProgressCallback = ignore_progress
) -> PullResult:
    """Replace the annotations of a project by those of the server.

    The whole project is listed before anything is changed: a task counts as deleted if a complete listing does not
    have it. Progress is in tasks listed.

    Raises:
        StoreError: If the project is unknown.
        ConfigError: If the project is not on this server or its form was edited, so that the store does not have the
            values of annotations. Nothing is changed then. A single annotation that does not fit the form is skipped.
        WorkError: If the server does not respond.
    """
    label_project = store.review.get_project(project)
    remote = find_project(client, label_project)
    result = PullResult()
    with TaskListing() as listing:
        # Tasks that are pushed from here on can be missing in the listing without being deleted.
        expected = 0
        for page in store.review.tasks(project, states={"pushed"}):
            listing.expect(task.key for task in page)
            expected += len(page)
        listing.read(client, remote, label_project.schema, lambda done, _: progress(done, max(done, expected)))
        listing.remove_copies(client, remote)
        fault_point("pull.listed")
        result.tasks, result.skipped = listing.task_count, listing.invalid
        for page in store.review.tasks(project, states=ON_SERVER):
            keys = [task.key for task in page]
            reconcile_ids(store, project, listing, page)
            result.deleted += store.review.mark_deleted(project, listing.missing(keys))
            fault_point("pull.reconciled")
            result.pulled += store.annotations.replace(project, listing.annotations(keys))
            fault_point("pull.recorded")
    for task in annotated_tasks(store, project):
        result.reviewed += 1
        result.corrections += len(task.corrections(label_project.schema))
        result.conflicts += [f"task {task.task.remote_id}, {conflict}" for conflict in task.consensus.conflicts]
    return result


def watch(
    store: Store,
    client: LabelStudioClient,
    project: str,
    *,
    every: float,
    until: threading.Event,
    on_error: Callable[[WorkError], None] = lambda _: None,
) -> Iterator[PullResult]:
    """Pull every `every` seconds until the event is set; yield each result.

    A server that does not respond is passed to `on_error` and tried again. Other errors are raised as by `pull`.
    """
    while not until.is_set():
        try:
            yield pull(store, client, project)
        except WorkError as error:
            on_error(error)
        until.wait(every)
