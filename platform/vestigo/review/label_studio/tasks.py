"""Tasks on a server: sent so that none is lost, listed without their pictures, removed where nobody worked on them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from vestigo.review.label_studio.client import Studio
from vestigo.review.label_studio.client__studio_errors import Unanswered

KEY = "vestigo_key"
"""What a task's `meta` calls its key: `meta` is listed without the data, which may hold a picture."""
PAGE = 500
LISTED = ("id", "meta", "total_annotations", "cancelled_annotations")
# One list of names chooses the fields of a task and those of its annotations.
ANSWERED = (*LISTED, "annotations", "result", "was_cancelled", "updated_at", "completed_by", "created_username")
_USER = re.compile(r"(\S+), \d+$")


@dataclass(frozen=True)
class TaskUpload:
    """A task to be sent: its key, the fields that the form shows, and what a model says (see `form.prediction`)."""

    key: str
    data: Mapping[str, Any]
    prediction: Mapping[str, Any]


@dataclass(frozen=True)
class Annotation:
    """What somebody answered to a task; `reviewer` is an email address, `updated` when it was last changed, UTC."""

    id: int
    reviewer: str
    updated: datetime
    result: list[dict[str, Any]]


@dataclass(frozen=True)
class RemoteTask:
    """A task on the server. `key` is None where it did not come from Vestigo.

    `work` counts what was done on it: annotations, and decisions to skip it, which are no answers.
    """

    id: int
    key: str | None
    work: int
    annotations: tuple[Annotation, ...] = ()


def list_tasks(studio: Studio, project: int, *, after: int = 0, annotations: bool = False) -> Iterator[RemoteTask]:
    """Yield the tasks of a project with ids above `after` in order of their ids, without data; memory is one page.

    What is there from the beginning to the end of the listing is in it, whatever else comes and goes: pages begin
    behind the last id, not at a number of tasks.

    Raises ConfigError where the project is gone, WorkError where the server stopped to answer: then it is not complete.
    """
    while True:
        page, total = studio.call(partial(_page, studio, project, after, annotations))
        yield from page
        if not page or len(page) >= total:
            return
        after = page[-1].id


def import_tasks(studio: Studio, project: int, tasks: Sequence[TaskUpload], *, after: int) -> dict[str, int]:
    """Send tasks in one request and return their ids by key, the lowest where one came twice.

    after: a task's id that is higher than none of theirs: what came of a request whose answer was lost is looked for
    behind it, and only what is missing is sent again.
    """
    wanted = {task.key for task in tasks}
    there: dict[str, int] = {}
    tried = False

    def send() -> None:
        nonlocal tried
        if tried:
            _look(studio, project, after, wanted, there)
        tried = True
        if missing := [task for task in tasks if task.key not in there]:
            request = [_request(task) for task in missing]
            told = studio.client.projects.import_tasks(project, request=request, return_task_ids=True)
            ids = getattr(told, "task_ids", None) or ()
            if len(ids) == len(missing):
                there.update(zip((task.key for task in missing), ids, strict=True))

    def arrived() -> None:
        if len(there) < len(wanted):
            _look(studio, project, after, wanted, there)
        if len(there) < len(wanted):
            raise Unanswered(f"{len(wanted) - len(there)} of {len(wanted)} tasks that it accepted are not there yet")

    studio.call(send)
    studio.call(arrived)
    return there


def remove_untouched(studio: Studio, project: int, ids: Sequence[int]) -> None:
    """Delete those of some tasks on which nobody has worked, by annotation or draft, as the server sees it then."""
    untouched: Any = {
        "conjunction": "and",
        "items": [
            _filter("total_annotations", "equal", "Number", 0),
            _filter("cancelled_annotations", "equal", "Number", 0),
            _filter("draft_exists", "equal", "Boolean", False),
        ],
    }
    chosen: Any = {"all": False, "included": list(ids)}
    studio.call(
        lambda: studio.client.actions.create(
            id="delete_tasks", project=project, filters=untouched, selected_items=chosen
        )
    )


def _page(studio: Studio, project: int, after: int, annotations: bool) -> tuple[list[RemoteTask], int]:
    """At most `PAGE` tasks behind an id, and how many there are."""
    query = {
        "filters": {"conjunction": "and", "items": [_filter("id", "greater", "Number", after)]},
        "ordering": ["tasks:id"],
    }
    answer: Any = studio.client.tasks.list(
        project=project,
        fields="all" if annotations else "task_only",
        include=",".join(ANSWERED if annotations else LISTED),
        query=json.dumps(query),
        resolve_uri=False,
        page=1,
        page_size=PAGE,
    )
    tasks = [_task(task) for task in answer.items or []]
    return tasks, int(answer.response.total)


def _look(studio: Studio, project: int, after: int, wanted: set[str], there: dict[str, int]) -> None:
    for task in list_tasks(studio, project, after=after):
        if task.key in wanted:
            there.setdefault(task.key, task.id)


def _request(task: TaskUpload) -> Any:
    return {"data": {**task.data, KEY: task.key}, "meta": {KEY: task.key}, "predictions": [dict(task.prediction)]}


def _task(task: Any) -> RemoteTask:
    meta = task.meta if isinstance(task.meta, dict) else {}
    key = meta.get(KEY)
    work = (task.total_annotations or 0) + (task.cancelled_annotations or 0)
    answers = tuple(_annotation(one) for one in task.annotations or () if not one["was_cancelled"])
    return RemoteTask(task.id, key if isinstance(key, str) else None, work, answers)


def _annotation(told: Mapping[str, Any]) -> Annotation:
    named = _USER.search(told.get("created_username") or "")
    reviewer = named.group(1) if named else f"user {told.get('completed_by') or 'unknown'}"
    updated = datetime.fromisoformat(told["updated_at"]).astimezone(UTC)
    return Annotation(told["id"], reviewer, updated, list(told["result"] or ()))


def _filter(name: str, operator: str, kind: str, value: float | bool) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{name}", "operator": operator, "type": kind, "value": value}
