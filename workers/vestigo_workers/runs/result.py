"""The result of a run, and its summary for the command line."""

from dataclasses import asdict, dataclass
from typing import Any

from vestigo.store.open import Store
from vestigo.store.runs.records import Run, RunTotals, status_text

MAX_LISTED = 100
"""Failures, empty inputs and videos that a summary lists by default at most; its counts are complete."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run with its totals; `skipped` inputs were in the store before."""

    run: Run
    totals: RunTotals
    skipped: int = 0


def read_result(store: Store, run_id: str) -> RunResult:
    """Return what a run has done so far."""
    return RunResult(run=store.runs.get(run_id), totals=store.runs.totals(run_id))


def summarize(store: Store, result: RunResult, limit: int | None = MAX_LISTED) -> dict[str, Any]:
    """Return a result under the names of the command-line contract, with those of its kind of run."""
    run, totals = result.run, result.totals
    if run.kind != "regions":
        return summarize_totals(store, result, limit)
    paths = store.shards.file_paths(run.id, kind="regions")
    batches = (batch for path in paths for batch in store.root.read(path, ["belongings"]))
    return {
        **summarize_totals(store, result, limit),
        "images": totals.regions,
        "with_belongings": sum(sum(batch.column("belongings").to_pylist()) for batch in batches),
        "images_per_second": totals.regions / run.seconds if run.seconds > 0 else 0.0,
    }


def summarize_totals(store: Store, result: RunResult, limit: int | None = MAX_LISTED) -> dict[str, Any]:
    """Return a result under the names that all kinds of runs have in common."""
    run, totals = result.run, result.totals
    return {
        "run": run.id,
        "kind": run.kind,
        "status": status_text(run.status, totals),
        "inputs": totals.inputs + result.skipped,
        "done": totals.done,
        "empty": totals.empty,
        "quarantined": totals.quarantined,
        "passed_over": store.runs.passed_over(run.id),
        "pending": totals.pending,
        "skipped": result.skipped,
        "frame_failures": totals.frame_failures,
        "crops": totals.crops,
        "tracklets": totals.tracklets,
        "label_maps": totals.regions,
        "error": run.error,
        "seconds": run.seconds,
        "crops_per_second": totals.crops / run.seconds if run.seconds > 0 else 0.0,
        "failures": [asdict(failure) for failure in store.runs.failures(run.id, limit=limit)],
        "empty_inputs": store.runs.empty_inputs(run.id, limit=limit),
        "videos_without_times": store.runs.videos_without_times(run.id, limit=limit),
    }
