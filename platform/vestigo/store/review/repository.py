"""The store as review sees it: what is asked, what was answered, what was agreed on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from vestigo.store.audit import log as audit_log
from vestigo.store.crops import visible
from vestigo.store.faults import fault_point
from vestigo.store.opened import OpenedStore
from vestigo.store.parquet.schemas import DRAW, LABELS
from vestigo.store.review import annotations as review_answers
from vestigo.store.review import label_sets
from vestigo.store.review import tasks as review
from vestigo.store.review.records import Draw, LabelAnswer, LabelBatch, LabelProject, LabelSet, LabelTask, NewTask
from vestigo_models.schemas.attributes import AttributeSchema

FOLDER = "review"
"""Stands where a run's files have the id of their run."""
PAGE_ROWS = 500


class ReviewStore(OpenedStore):
    """What review does to the store. Every method that changes it is one transaction.

    Tasks are named by their keys, which say what crops they are about and are the same for ever.
    """

    def label_projects(self) -> list[LabelProject]:
        """Return the projects, by name."""
        with self._db.read() as session:
            return review.projects(session)

    def label_project(self, name: str) -> LabelProject | None:
        """Return a project, None where there is none of that name."""
        with self._db.read() as session:
            return review.project(session, name)

    def make_label_project(self, name: str, schema: AttributeSchema) -> LabelProject:
        """Make a project, or return the one there is. Raises StoreError, naming attributes, for another schema."""
        with self._db.write() as session:
            return review.make_project(session, name, schema)

    def link_label_project(self, name: str, server: str, remote_id: int) -> None:
        """Say under which address (without credentials) and id Label Studio has a project."""
        with self._db.write() as session:
            review.link_project(session, name, server, remote_id)

    def save_draw(
        self, project: str, draw: Draw, tasks: Sequence[NewTask], probabilities: Iterable[pa.RecordBatch]
    ) -> int:
        """Record a draw: its tasks in the order of their review, and how likely every task of the archive was drawn
        (columns of `schema.DRAW`); return the batch's id.

        Raises StoreError for an unknown project or model, and for a task that was drawn before.
        """
        file = self._root.write("draw", FOLDER, 0, probabilities, DRAW)
        fault_point("draw.before")
        with self._db.write() as session:
            return review.save_batch(session, project, draw, tasks, file)

    def import_tasks(
        self, project: str, draw: Draw, tasks: Sequence[NewTask], answers: Mapping[str, Sequence[LabelAnswer]]
    ) -> int:
        """Record tasks that nobody drew together with their answers; return the batch's id."""
        with self._db.write() as session:
            batch = review.save_batch(session, project, draw, tasks, None)
            review_answers.record_answers(session, project, answers)
        return batch

    def record_correction(
        self,
        project: str,
        draw: Draw,
        task: NewTask,
        *,
        user: str,
        answered: datetime,
        answers: Mapping[str, str],
        case: str | None = None,
        authority: str | None = None,
    ) -> LabelTask:
        """Record what somebody says of a task that nobody drew, in the place of what they said before, and that they
        did in the audit log; return the task."""
        details = {"project": project, "task": task.key, "crops": len(task.crops), "crop": task.crops[0]}
        with self._db.write() as session:
            put = review.put_task(session, project, draw, task)
            review_answers.put_answer(session, put, audit_log.printable(user), answered, answers)
            audit_log.append(
                session,
                user=user,
                action="correct",
                snapshot=visible.snapshot(session),
                case=audit_log.line(case, "case number"),
                authority=authority,
                details={**details, "model": draw.model, "answers": dict(answers)},
            )
        return put

    def label_batches(self, project: str) -> list[LabelBatch]:
        """Return the batches of a project, oldest first."""
        with self._db.read() as session:
            return review.batches(session, project)

    def draw_probabilities(self, batch: int, keys: Collection[str]) -> dict[str, float]:
        """Return how likely tasks were drawn in a batch, those that could be; memory is that of the answer."""
        with self._db.read() as session:
            path = review.draw_file(session, batch)
        if path is None:
            return {}
        wanted = pa.array(sorted(keys), pa.string())
        found: dict[str, float] = {}
        for batch_ in self._root.read(path):
            some = batch_.filter(pc.is_in(batch_.column("task"), wanted))
            found.update(zip(*(column.to_pylist() for column in some.columns), strict=True))
        return found

    def drawn_keys(self, project: str, keys: Collection[str]) -> set[str]:
        """Return those of `keys` that the project has a task for."""
        with self._db.read() as session:
            return review.existing(session, project, keys)

    def label_tasks(
        self,
        project: str,
        *,
        states: Collection[str] | None = None,
        batch: int | None = None,
        rows: int = PAGE_ROWS,
    ) -> Iterator[list[LabelTask]]:
        """Yield the tasks of a project in order of batch and position, at most `rows` at a time."""
        after = (-1, -1)
        while True:
            with self._db.read() as session:
                page = review.tasks_after(session, project, states, batch, after, rows)
            if not page:
                return
            yield page
            after = (page[-1].batch, page[-1].position)

    def mark_pushed(self, project: str, remote: Mapping[str, int]) -> None:
        """Say under which ids the server has tasks; those that were taken for deleted are back."""
        with self._db.write() as session:
            review.mark_pushed(session, project, remote)
            session.flush()
            fault_point("pushed.inside")

    def mark_deleted(self, project: str, keys: Collection[str]) -> int:
        """Say that the server has tasks no longer: their answers go. Returns how many it had until now."""
        with self._db.write() as session:
            return review.mark_deleted(session, project, keys)

    def answers_of(self, project: str, keys: Collection[str]) -> dict[str, tuple[LabelAnswer, ...]]:
        """Return the answers to tasks, in order of the server's ids; tasks without any are left out."""
        with self._db.read() as session:
            return review_answers.answers_of(session, project, keys)

    def record_answers(self, project: str, answers: Mapping[str, Sequence[LabelAnswer]]) -> int:
        """Replace the answers to exactly these tasks; return how many are new, changed or gone."""
        with self._db.write() as session:
            return review_answers.record_answers(session, project, answers)

    def answers_version(self) -> str:
        """Return what names all answers as they are: it is another one when an answer came, changed or went."""
        with self._db.read() as session:
            return review_answers.version(session)

    def label_counts(self, project: str, batch: int | None = None) -> dict[str, int]:
        """Return how many tasks a project, or one batch of it, has in each state, and as `answered` with an answer."""
        with self._db.read() as session:
            return review_answers.counts(session, project, batch)

    def save_label_set(
        self, rows: Iterable[pa.RecordBatch], *, digest: str, tasks: int, projects: tuple[str, ...]
    ) -> LabelSet:
        """Keep labels (columns of `schema.LABELS`) as the next version."""
        file = self._root.write("labels", FOLDER, 0, rows, LABELS)
        fault_point("labels.before")
        with self._db.write() as session:
            return label_sets.save(session, digest, tasks, projects, file)

    def label_sets(self) -> list[LabelSet]:
        """Return the versions of labels, oldest first."""
        with self._db.read() as session:
            return label_sets.versions(session)

    def load_label_set(self, version: int) -> tuple[LabelSet, Iterator[pa.RecordBatch]]:
        """Return a version and its rows. Raises StoreError for an unknown one."""
        with self._db.read() as session:
            found, path = label_sets.find(session, version)
        return found, self._root.read(path)

    def require_label_project(self, name: str) -> LabelProject:
        """Return a project. Raises StoreError, naming those there are."""
        with self._db.read() as session:
            return review.require_project(session, name)
