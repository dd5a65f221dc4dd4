"""All that a server has of a project, read once and complete, before anything is concluded from it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from types import TracebackType

from vestigo.review.label_studio.client import Studio
from vestigo.review.label_studio.form import answers
from vestigo.review.label_studio.tasks import PAGE, RemoteTask, list_tasks, remove_untouched
from vestigo.store.review.records import LabelAnswer
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema

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

    def answers(self, keys: Collection[str]) -> dict[str, list[LabelAnswer]]:
        """Return the answers to tasks by key in order of their ids; an empty list for a task without any."""
        found: dict[str, list[LabelAnswer]] = {}
        for key, copies in self._copies(keys).items():
            rows = self._spool.execute(
                f"SELECT id, reviewer, answered, answers FROM answer WHERE task IN ({_marks(copies)}) ORDER BY id",
                copies,
            )
            found[key] = [
                LabelAnswer(id_, reviewer, datetime.fromisoformat(answered), json.loads(told))
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
