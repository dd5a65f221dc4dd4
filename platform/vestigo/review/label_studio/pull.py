"""What reviewers did comes back: after a pull the store holds the server's truth, whatever became of it before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vestigo.review.label_studio.client import Studio
from vestigo.review.label_studio.projects import find_project
from vestigo.review.label_studio.push import reconcile_ids
from vestigo.review.label_studio.tasks import Listing
from vestigo.review.labels.agreement import annotated_tasks
from vestigo.store.faults import fault_point
from vestigo.store.open import Store
from vestigo_models.errors import WorkError

ON_SERVER = frozenset({"drawn", "pushed", "deleted"})


@dataclass
class Pulled:
    """What a pull found.

    Attributes:
        tasks: of the project on the server.
        reviewed: tasks with an answer.
        pulled: answers that are new, changed or gone since the last pull.
        deleted: tasks that somebody deleted on the server since the last pull; their answers went with them.
        corrections: values of all tasks that reviewers agree on and that the model said otherwise.
        conflicts: one line for each attribute of a task on which its reviewers do not agree.
    """

    tasks: int = 0
    reviewed: int = 0
    pulled: int = 0
    deleted: int = 0
    corrections: int = 0
    conflicts: list[str] = field(default_factory=list)


def pull(store: Store, studio: Studio, project: str, progress: Callable[[int, int], None] | None = None) -> Pulled:
    """Make the store's answers those of the server: new, edited and deleted ones, of every reviewer.

    All of the project is listed before anything is changed: a task is taken for deleted because a complete listing does
    not have it. progress: hears of tasks listed and tasks in all.

    Raises:
        StoreError: an unknown project.
        ConfigError: the project is not on this server, or its form was edited so that there are answers which the
            store cannot understand. Nothing was changed then.
        WorkError: the server stopped to answer.
    """
    label = store.review.get_project(project)
    remote = find_project(studio, label)
    found = Pulled()
    with Listing() as listing:
        # What is pushed from here on may be missing in the listing without having been deleted.
        expected = 0
        for page in store.review.tasks(project, states={"pushed"}):
            listing.expect(task.key for task in page)
            expected += len(page)
        listing.read(
            studio, remote, label.schema, None if progress is None else lambda done: progress(done, max(done, expected))
        )
        listing.remove_copies(studio, remote)
        fault_point("pull.listed")
        found.tasks = listing.tasks
        for page in store.review.tasks(project, states=ON_SERVER):
            keys = [task.key for task in page]
            reconcile_ids(store, project, listing, page)
            found.deleted += store.review.mark_deleted(project, listing.missing(keys))
            fault_point("pull.reconciled")
            found.pulled += store.annotations.replace(project, listing.answers(keys))
            fault_point("pull.recorded")
    for task in annotated_tasks(store, project):
        found.reviewed += 1
        found.corrections += len(task.corrections(label.schema))
        found.conflicts += [f"task {task.task.remote_id}, {conflict}" for conflict in task.consensus.conflicts]
    return found


def watch(
    store: Store,
    studio: Studio,
    project: str,
    *,
    every: float,
    until: threading.Event,
    trouble: Callable[[WorkError], None] | None = None,
) -> Iterator[Pulled]:
    """Pull again and again, `every` seconds apart, until the event is set; yield what each pull found.

    A server that does not answer for a while is waited for; `trouble` hears of it. Raises as `pull` otherwise.
    """
    while not until.is_set():
        try:
            yield pull(store, studio, project)
        except WorkError as error:
            if trouble is not None:
                trouble(error)
        until.wait(every)
