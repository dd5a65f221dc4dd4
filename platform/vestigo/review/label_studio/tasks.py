"""Tasks on a server: sent so that none is lost, listed without their pictures, removed where nobody worked on them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any

from vestigo.review.label_studio.client import Studio, Unanswered
from vestigo.review.label_studio.form import answers
from vestigo.store.review.records import Annotation
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema

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
class RemoteAnnotation:
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
    annotations: tuple[RemoteAnnotation, ...] = ()


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


def _annotation(told: Mapping[str, Any]) -> RemoteAnnotation:
    named = _USER.search(told.get("created_username") or "")
    reviewer = named.group(1) if named else f"user {told.get('completed_by') or 'unknown'}"
    updated = datetime.fromisoformat(told["updated_at"]).astimezone(UTC)
    return RemoteAnnotation(told["id"], reviewer, updated, list(told["result"] or ()))


def _filter(name: str, operator: str, kind: str, value: float | bool) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{name}", "operator": operator, "type": kind, "value": value}


TABLES = """
CREATE TABLE task (id INTEGER PRIMARY KEY, key TEXT, work INTEGER);
CREATE TABLE answer (id INTEGER PRIMARY KEY, task INTEGER, reviewer TEXT, answered TEXT, answers TEXT);
CREATE TABLE expected (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE INDEX task_key ON task (key);
CREATE INDEX answer_task ON answer (task);
"""
REMOVED_AT_ONCE = 100


class Listing:
    """The server's tasks and answers, spooled to a temporary database: memory is that of a page.

    A key that the server has more than once came in a request that the network repeated. All its copies count until
    they are removed: an answer to any of them is an answer to the task.
    """

    def __init__(self) -> None:
        self._spool = sqlite3.connect("", isolation_level=None)
        self._spool.executescript(TABLES)
        self._spool.execute("BEGIN")

    def __enter__(self) -> Listing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    def expect(self, keys: Iterable[str]) -> None:
        """Say which tasks the server had until now; to be said before the listing begins (see `missing`)."""
        self._spool.executemany("INSERT OR IGNORE INTO expected VALUES (?)", ((key,) for key in keys))

    def read(
        self,
        studio: Studio,
        project: int,
        schema: AttributeSchema | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """List a project, with answers where a `schema` says how to read them; `progress` hears of tasks so far.

        Raises ConfigError, once all of it is read, for answers that the schema does not have: how many, and the first.
        """
        wrong: list[str] = []
        for count, task in enumerate(list_tasks(studio, project, annotations=schema is not None), 1):
            self._spool.execute("INSERT INTO task VALUES (?, ?, ?)", (task.id, task.key, task.work))
            if schema is not None and task.key is not None:
                self._spool.executemany("INSERT INTO answer VALUES (?, ?, ?, ?, ?)", _rows(task, schema, wrong))
            if progress is not None and count % PAGE == 0:
                progress(count)
        if wrong:
            raise ConfigError(
                f"{len(wrong)} answers on server {studio.url} are not of this form, so that nothing was pulled: the "
                f"first is {wrong[0]}; correct them there"
            )

    @property
    def last(self) -> int:
        """The highest id; 0 where there are no tasks."""
        return int(self._spool.execute("SELECT coalesce(max(id), 0) FROM task").fetchone()[0])

    @property
    def tasks(self) -> int:
        """How many tasks of Vestigo there are, copies counted once."""
        return int(self._spool.execute("SELECT count(DISTINCT key) FROM task").fetchone()[0])

    def ids(self, keys: Collection[str]) -> dict[str, int]:
        """Return the ids of tasks by key, those that there are; of copies the one that stays."""
        return {key: copies[0] for key, copies in self._copies(keys).items()}

    def answers(self, keys: Collection[str]) -> dict[str, list[Annotation]]:
        """Return the answers to tasks by key in order of their ids; an empty list for a task without any."""
        found: dict[str, list[Annotation]] = {}
        for key, copies in self._copies(keys).items():
            rows = self._spool.execute(
                f"SELECT id, reviewer, answered, answers FROM answer WHERE task IN ({_marks(copies)}) ORDER BY id",
                copies,
            )
            found[key] = [
                Annotation(id_, reviewer, datetime.fromisoformat(answered), json.loads(told))
                for id_, reviewer, answered, told in rows
            ]
        return found

    def missing(self, keys: Collection[str]) -> set[str]:
        """Return those of `keys` that were expected and are not there."""
        expected = f"SELECT key FROM expected WHERE key IN ({_marks(keys)})"
        return {key for (key,) in self._spool.execute(expected, list(keys))} - self.ids(keys).keys()

    def remove_copies(self, studio: Studio, project: int) -> int:
        """Remove the copies on which nobody worked, all but one of each key; return how many there were."""
        doubled = self._spool.execute("SELECT key FROM task WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1")
        some: list[int] = []
        count = 0
        for (key,) in doubled.fetchall():
            others = self._copies([key])[key][1:]
            worked = {id_ for (id_,) in self._spool.execute("SELECT id FROM task WHERE key = ? AND work > 0", (key,))}
            some += [other for other in others if other not in worked]
        for start in range(0, len(some), REMOVED_AT_ONCE):
            remove_untouched(studio, project, some[start : start + REMOVED_AT_ONCE])
            count += len(some[start : start + REMOVED_AT_ONCE])
        return count

    def _copies(self, keys: Collection[str]) -> dict[str, list[int]]:
        """Ids by key; the first is the one that stays: worked on, else the oldest."""
        found: dict[str, list[int]] = {}
        rows = self._spool.execute(
            f"SELECT key, id FROM task WHERE key IN ({_marks(keys)}) ORDER BY work = 0, id", list(keys)
        )
        for key, id_ in rows:
            found.setdefault(key, []).append(id_)
        return found


def _rows(task: RemoteTask, schema: AttributeSchema, wrong: list[str]) -> Iterator[tuple[int, int, str, str, str]]:
    for one in task.annotations:
        try:
            told = answers(schema, one.result)
        except ConfigError as error:
            wrong.append(f"annotation {one.id} of task {task.id}, {error}")
            continue
        yield one.id, task.id, one.reviewer, one.updated.astimezone(UTC).isoformat(), json.dumps(told)


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
