"""The store as the driver of a run sees it: models, runs, plans, shards, commits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from vestigo.store.crops import visible
from vestigo.store.faults import fault_point
from vestigo.store.models.facts import ModelFacts
from vestigo.store.opened import OpenedStore
from vestigo.store.parquet.files import GROUP_ROWS
from vestigo.store.runs import leases, planning
from vestigo.store.runs import queries as runs
from vestigo.store.runs import retry as retrying
from vestigo.store.runs import shards as deaths
from vestigo.store.runs import shards as work
from vestigo.store.runs.records import (
    Failure,
    FailureCount,
    FileKind,
    FrameFailure,
    InputOutcome,
    Model,
    Owner,
    PickSpec,
    PlanResult,
    Retried,
    Run,
    RunStatus,
    RunTotals,
    ShardPlan,
    ShardTask,
    StoredFile,
    WrittenFile,
)
from vestigo.store.runs.replace import replace_stale
from vestigo_models.errors import StoreError


class DrivingStore(OpenedStore):
    """What a run does to the store. Every method that changes it is one transaction, `plan` one a video or shard."""

    def register_model(self, digest: str, *, name: str, location: str, facts: ModelFacts | None = None) -> None:
        """Make a model known; known ones take the new name and location, and keep their facts without new ones."""
        with self._db.write() as session:
            runs.register_model(session, digest, name, location, facts)

    def models(self) -> list[Model]:
        """Return the models whose crops the store may hold, newest first."""
        with self._db.read() as session:
            return runs.models(session)

    def create_run(
        self, *, fingerprint: str, config: dict[str, Any], model: str, command: str, replaces: bool = False
    ) -> Run:
        """Begin a run bound to `fingerprint`, the digest of `config`; `model` is a registered digest.

        The rows of a run that `replaces` become visible when it succeeds, and what other fingerprints hold of the
        same inputs goes in the same moment. Raises StoreError for an unknown model.
        """
        with self._db.write() as session:
            return runs.create_run(session, fingerprint, config, model, command, replaces)

    def find_run(self, run_id: str) -> Run:
        """Return a run. Raises StoreError for an unknown one."""
        with self._db.read() as session:
            return runs.to_run(runs.run_row(session, run_id))

    def runs(self, *, newest_first: bool = False, offset: int = 0, limit: int | None = None) -> list[Run]:
        """Return the runs, or `limit` of them from `offset` on, oldest first unless told otherwise."""
        with self._db.read() as session:
            return runs.runs(session, newest_first=newest_first, offset=offset, limit=limit)

    def count_runs(self) -> int:
        """Count the runs."""
        with self._db.read() as session:
            return runs.count_runs(session)

    def is_driven(self, run_id: str) -> bool:
        """Say whether a live process drives a run; one on another host is believed for a minute of silence."""
        with self._db.read() as session:
            return leases.is_held_by_any(runs.run_row(session, run_id))

    def unfinished_run(self, fingerprint: str) -> Run | None:
        """Return the newest run under `fingerprint` that did not succeed."""
        with self._db.read() as session:
            return runs.latest_run(session, fingerprint, unfinished=True)

    def differences(self, fingerprint: str, config: dict[str, Any]) -> list[str]:
        """Say in what `config` differs from that of the newest run under `fingerprint`, a line for each value."""
        with self._db.read() as session:
            run = runs.latest_run(session, fingerprint)
        return [] if run is None else runs.differences(run.config, config)

    def require_fingerprint(self, run_id: str, fingerprint: str, config: dict[str, Any]) -> None:
        """Raise FingerprintMismatch, naming what differs, unless the run is bound to `fingerprint`."""
        runs.require_fingerprint(self.find_run(run_id), fingerprint, config)

    def totals(self, run_id: str) -> RunTotals:
        """Count what became of a run's inputs."""
        with self._db.read() as session:
            return runs.totals(session, run_id)

    def failures(
        self, run_id: str, limit: int | None = None, *, offset: int = 0, reason: str | None = None
    ) -> Iterator[Failure]:
        """Yield what a run left out, for one `reason` or any, whole inputs before single frames."""
        with self._db.read() as session:
            yield from runs.failures(session, run_id, limit, offset, reason)

    def failure_counts(self, run_id: str) -> list[FailureCount]:
        """Count what a run left out by reason, the most frequent first."""
        with self._db.read() as session:
            return runs.failure_counts(session, run_id)

    def retry(
        self,
        run_id: str,
        names: Collection[str] | None = None,
        *,
        reason: str | None = None,
        pick: PickSpec,
        is_there: retrying.IsThere,
    ) -> Retried:
        """Put inputs that a run left out back to pending, in one transaction; see `retrying.retry`."""
        fault_point("retry.before")
        with self._db.write() as session:
            done = retrying.retry(session, run_id, Owner.current(), names, reason, pick, is_there)
        fault_point("retry.after")
        return done

    def empty_inputs(self, run_id: str, limit: int | None = None) -> list[str]:
        """Name the inputs in which a run found nobody, in order of the plan."""
        with self._db.read() as session:
            return runs.empty_inputs(session, run_id, limit)

    def take_lease(self, run_id: str, owner: Owner | None = None) -> Run:
        """Become the driver of a run that has not succeeded; `owner` is this process by default.

        Raises StoreError, naming the process, where a live driver holds it.
        """
        with self._db.write() as session:
            return leases.take(session, run_id, owner or Owner.current())

    def heartbeat(self, run_id: str, owner: Owner | None = None) -> None:
        """Say that the driver lives, at least once a minute. Raises StoreError where another took the run over."""
        with self._db.write() as session:
            leases.heartbeat(session, run_id, owner or Owner.current())

    def release(self, run_id: str, owner: Owner | None = None) -> None:
        """Stop driving a run without saying how it ended."""
        with self._db.write() as session:
            leases.release(session, run_id, owner or Owner.current())

    def finish_run(
        self, run_id: str, status: RunStatus, owner: Owner | None = None, *, error: str | None = None
    ) -> Run:
        """End a run and release it; `error` says what it failed of.

        Raises StoreError for `succeeded` while shards are pending.
        """
        fault_point("finish.before")
        with self._db.write() as session:
            run = leases.finish(
                session, run_id, status, owner or Owner.current(), lambda row: replace_stale(session, row), error
            )
            session.flush()
            fault_point("finish.inside")
        fault_point("finish.after")
        return run

    def request_cancel(self, run_id: str) -> Run:
        """Ask the driver of a run to stop; without a live one the run is cancelled at once."""
        with self._db.write() as session:
            return leases.request_cancel(session, run_id)

    def cancel_requested(self, run_id: str) -> bool:
        """Whether somebody asked the driver to stop."""
        return self.find_run(run_id).cancel_requested

    def unseen(self, fingerprint: str, keys: Sequence[str]) -> set[str]:
        """Return those of `keys` that are not planned yet under `fingerprint`."""
        with self._db.read() as session:
            return planning.unseen(session, fingerprint, keys)

    def stale_sources(self, fingerprint: str, keys: Sequence[str]) -> set[str]:
        """Return the other fingerprints under which the store holds any of `keys`."""
        with self._db.read() as session:
            return planning.stale(session, fingerprint, keys)

    def plan(self, run_id: str, shards: Iterable[ShardPlan]) -> PlanResult:
        """Add shards to a run; see `planning.plan`. Raises StoreError for an input that is planned already."""
        return planning.plan(self._db, run_id, shards)

    def pending(self, run_id: str, limit: int, busy: Collection[int] = ()) -> list[ShardTask]:
        """Return the next shards to be worked off, without those in flight (`busy`)."""
        with self._db.read() as session:
            return work.pending(session, run_id, limit, busy)

    def commit(
        self,
        shard_id: int,
        *,
        files: Sequence[WrittenFile],
        outcomes: Sequence[InputOutcome],
        failures: Sequence[FrameFailure] = (),
    ) -> None:
        """Record what a shard yielded, all or nothing; from here on its files count.

        Raises StoreError for a shard that is not pending, a file that is not there, or counts that do not agree.
        """
        for file in files:
            self._require_written(file)
        fault_point("commit.before")
        with self._db.write() as session:
            work.commit(session, shard_id, files, outcomes, failures)
        fault_point("commit.after")

    def record_death(self, shard_id: int, reason: str, pick: PickSpec) -> deaths.Fate:
        """Count the death of a worker against its shard; see `deaths.record_death`."""
        with self._db.write() as session:
            return deaths.record_death(session, shard_id, reason, pick)

    def write(
        self, kind: FileKind, run_id: str, shard_id: int, rows: pa.Table | Iterable[pa.RecordBatch]
    ) -> WrittenFile:
        """Write a file that is to be committed; see `DataRoot.write`."""
        return self._root.write(kind, run_id, shard_id, rows)

    def files(self, run_id: str, *, kind: FileKind, after: str | None = None) -> list[StoredFile]:
        """Return a run's files in the order of its shards; `after` chooses those of one video."""
        with self._db.read() as session:
            return visible.run_files(session, run_id, kind, after)

    def open_table(
        self,
        run_id: str,
        *,
        kind: FileKind,
        after: str | None = None,
        columns: Sequence[str] | None = None,
        batch_rows: int = GROUP_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `files`, file after file; memory is one batch."""
        for file in self.files(run_id, kind=kind, after=after):
            yield from self._root.read(file.path, columns, batch_rows)

    def _require_written(self, file: WrittenFile) -> None:
        size = self._root.folder.size(file.path)
        if size != file.bytes:
            raise StoreError(f"file {file.path} has {size} bytes, {file.bytes} were written: do its shard again")
