"""Tasks of a Label Studio project: create them exactly once, list them without data, remove untouched ones."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from vestigo.review.label_studio.client import LabelStudioClient, TransientError
from vestigo.review.label_studio.form import parse_result
from vestigo.store.review.records import Annotation
from vestigo_models.errors import ConfigError
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.schemas.attributes import AttributeSchema

KEY_FIELD = "vestigo_key"  # the key in a task's `meta`, which is listed without the data; the data can hold an image
PAGE = 500
FIELDS = ("id", "meta", "total_annotations", "cancelled_annotations")
# One list of names selects the fields of a task and those of its annotations.
ANNOTATED_FIELDS = (*FIELDS, "annotations", "result", "was_cancelled", "updated_at", "completed_by", "created_username")
REMOVE_PAGE = 100
TABLES = """
CREATE TABLE task (id INTEGER PRIMARY KEY, key TEXT, work INTEGER);
CREATE TABLE annotation (id INTEGER PRIMARY KEY, task INTEGER, annotator TEXT, updated TEXT, labels TEXT);
CREATE TABLE expected (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX task_key ON task (key);
CREATE INDEX annotation_task ON annotation (task);
"""
LISTED = "(SELECT value FROM json_each(?))"
_USER = re.compile(r"(\S+), \d+$")


@dataclass(frozen=True)
class RemoteTask:
    """A task on the server."""

    id: int
    key: str | None  # None if Vestigo did not create it
    work: int  # number of annotations and skips
    annotations: tuple[Mapping[str, Any], ...] = ()  # as the server lists them, without skips


def list_tasks(
    client: LabelStudioClient, project: int, *, after: int = 0, annotations: bool = False
) -> Iterator[RemoteTask]:
    """Yield the tasks of a project with ids above `after`, in order of ids, without data; memory is one page.

    The listing has every task that exists from its beginning to its end, even if others are created or deleted
    meanwhile, because a page begins after the last id and not at a number of tasks.
    """
    while True:
        page, total = client.call(partial(_read_page, client, project, after, annotations))
        yield from page
        if not page or len(page) >= total:
            return
        after = page[-1].id


def create_tasks(
    client: LabelStudioClient, project: int, requests: Mapping[str, Mapping[str, Any]], *, after: int
) -> dict[str, int]:
    """Create tasks in one request and return their ids by key, the lowest if one was created twice.

    `requests` is key to `task_request`, `after` an id that is not above those of the new tasks. If the response to a
    request is lost, its tasks are looked for after this id, and only missing ones are sent again.
    """
    ids: dict[str, int] = {}
    is_retry = False

    def find_created() -> None:
        for task in list_tasks(client, project, after=after):
            if task.key is not None and task.key in requests:
                ids.setdefault(task.key, task.id)

    def send() -> None:
        nonlocal is_retry
        if is_retry:
            find_created()
        is_retry = True
        if missing := [key for key in requests if key not in ids]:
            request: Any = [requests[key] for key in missing]
            response = client.sdk.projects.import_tasks(project, request=request, return_task_ids=True)
            created = getattr(response, "task_ids", None) or ()
            if len(created) == len(missing):
                ids.update(zip(missing, created, strict=True))

    def wait_until_listed() -> None:
        if len(ids) < len(requests):
            find_created()
        if missing := len(requests) - len(ids):
            raise TransientError(f"{missing} of {len(requests)} accepted tasks are not listed yet")

    client.call(send)
    client.call(wait_until_listed)
    return ids


def task_request(key: str, data: Mapping[str, Any], prediction: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that creates a task: its key, the fields that the form shows, and `build_prediction`."""
    return {"data": {**data, KEY_FIELD: key}, "meta": {KEY_FIELD: key}, "predictions": [dict(prediction)]}


def remove_untouched(client: LabelStudioClient, project: int, ids: Sequence[int]) -> None:
    """Delete those of some tasks that have no annotation, skip or draft on the server at that time."""
    untouched: Any = {
        "conjunction": "and",
        "items": [
            _filter("total_annotations", "equal", "Number", 0),
            _filter("cancelled_annotations", "equal", "Number", 0),
            _filter("draft_exists", "equal", "Boolean", False),
        ],
    }
    selected: Any = {"all": False, "included": list(ids)}
    delete = partial(client.sdk.actions.create, id="delete_tasks", project=project)
    client.call(partial(delete, filters=untouched, selected_items=selected))


class TaskListing:
    """The server's tasks and annotations in a temporary database; memory is one page.

    A key that the server has several times comes from a repeated request. All copies count until they are removed: an
    annotation of a copy is an annotation of the task. `invalid` has a line for each annotation that does not fit the
    form.
    """

    def __init__(self) -> None:
        self.invalid: list[str] = []
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(TABLES)
        self._database.execute("BEGIN")

    def __enter__(self) -> TaskListing:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def expect(self, keys: Iterable[str]) -> None:
        """Record the tasks that the server had before the listing; see `missing`."""
        self._database.executemany("INSERT OR IGNORE INTO expected VALUES (?)", ((key,) for key in keys))

    def read(
        self,
        client: LabelStudioClient,
        project: int,
        schema: AttributeSchema | None = None,
        progress: ProgressCallback = ignore_progress,
    ) -> None:
        """List a project, with annotations if `schema` is given; those that do not fit it are in `invalid`."""
        for count, task in enumerate(list_tasks(client, project, annotations=schema is not None), 1):
            self._database.execute("INSERT INTO task VALUES (?, ?, ?)", (task.id, task.key, task.work))
            if schema is not None and task.key is not None:
                rows = _annotation_rows(task, schema, self.invalid)
                self._database.executemany("INSERT INTO annotation VALUES (?, ?, ?, ?, ?)", rows)
            if count % PAGE == 0:
                progress(count, None)

    @property
    def last_id(self) -> int:
        """The highest task id; 0 without tasks."""
        return int(self._database.execute("SELECT coalesce(max(id), 0) FROM task").fetchone()[0])

    @property
    def task_count(self) -> int:
        """Number of Vestigo's tasks, copies counted once."""
        return int(self._database.execute("SELECT count(DISTINCT key) FROM task").fetchone()[0])

    def ids(self, keys: Collection[str]) -> dict[str, int]:
        """Return the ids of the listed tasks by key; of copies the one that is kept."""
        return {key: copies[0] for key, copies in self._copies(keys).items()}

    def annotations(self, keys: Collection[str]) -> dict[str, list[Annotation]]:
        """Return the annotations of the listed tasks by key, in order of ids; an empty list for a task without any."""
        annotations: dict[str, list[Annotation]] = {}
        columns = "SELECT id, annotator, updated, labels FROM annotation"
        for key, copies in self._copies(keys).items():
            rows = self._database.execute(f"{columns} WHERE task IN {LISTED} ORDER BY id", [json.dumps(copies)])
            annotations[key] = [
                Annotation(id_, annotator, datetime.fromisoformat(updated), json.loads(labels))
                for id_, annotator, updated, labels in rows
            ]
        return annotations

    def missing(self, keys: Collection[str]) -> set[str]:
        """Return those of `keys` that were expected and are not listed."""
        rows = self._database.execute(f"SELECT key FROM expected WHERE key IN {LISTED}", [json.dumps(list(keys))])
        return {key for (key,) in rows} - self.ids(keys).keys()

    def remove_copies(self, client: LabelStudioClient, project: int) -> None:
        """Delete copies without annotations, all but one of each key."""
        repeated = self._database.execute("SELECT key FROM task WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1")
        removable: list[int] = []
        for (key,) in repeated.fetchall():
            untouched = self._database.execute("SELECT id FROM task WHERE key = ? AND work = 0 ORDER BY id", (key,))
            kept = self._copies([key])[key][0]
            removable += [copy for (copy,) in untouched if copy != kept]
        for start in range(0, len(removable), REMOVE_PAGE):
            remove_untouched(client, project, removable[start : start + REMOVE_PAGE])

    def _copies(self, keys: Collection[str]) -> dict[str, list[int]]:
        """Return ids by key; the first is kept: one with work, else the oldest."""
        copies: dict[str, list[int]] = {}
        matching = f"SELECT key, id FROM task WHERE key IN {LISTED} ORDER BY work = 0, id"
        for key, id_ in self._database.execute(matching, [json.dumps(list(keys))]):
            copies.setdefault(key, []).append(id_)
        return copies


def _read_page(client: LabelStudioClient, project: int, after: int, annotations: bool) -> tuple[list[RemoteTask], int]:
    """Return at most `PAGE` tasks after an id, and the number of all tasks after it."""
    query = {
        "filters": {"conjunction": "and", "items": [_filter("id", "greater", "Number", after)]},
        "ordering": ["tasks:id"],
    }
    response: Any = client.sdk.tasks.list(
        project=project,
        fields="all" if annotations else "task_only",
        include=",".join(ANNOTATED_FIELDS if annotations else FIELDS),
        query=json.dumps(query),
        resolve_uri=False,
        page=1,
        page_size=PAGE,
    )
    return [_parse_task(task) for task in response.items or []], int(response.response.total)


def _parse_task(task: Any) -> RemoteTask:
    meta = task.meta if isinstance(task.meta, dict) else {}
    key = meta.get(KEY_FIELD)
    return RemoteTask(
        id=task.id,
        key=key if isinstance(key, str) else None,
        work=(task.total_annotations or 0) + (task.cancelled_annotations or 0),
        annotations=tuple(annotation for annotation in task.annotations or () if not annotation["was_cancelled"]),
    )


def _annotation_rows(
    task: RemoteTask, schema: AttributeSchema, invalid: list[str]
) -> Iterator[tuple[int, int, str, str, str]]:
    """Yield the rows of a task's annotations; what does not match the schema is added to `invalid`."""
    for annotation in task.annotations:
        try:
            labels = parse_result(schema, list(annotation["result"] or ()))
            updated = datetime.fromisoformat(annotation["updated_at"]).astimezone(UTC)
        except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
            reason = error if isinstance(error, ConfigError) else "it was not made with the form of this project"
            invalid.append(f"annotation {annotation['id']} of task {task.id}, {reason}")
            continue
        user = _USER.search(annotation.get("created_username") or "")
        annotator = user.group(1) if user else f"user {annotation.get('completed_by') or 'unknown'}"
        yield annotation["id"], task.id, annotator, updated.isoformat(), json.dumps(labels)


def _filter(name: str, operator: str, kind: str, value: float | bool) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{name}", "operator": operator, "type": kind, "value": value}
