"""Resume a run, or retry its quarantined inputs, whatever its kind."""

from collections.abc import Callable, Collection

from vestigo.store.open import Store
from vestigo.store.runs.records import RetryResult
from vestigo_models.progress import OpenProgress
from vestigo_workers.indexing import run as indexing
from vestigo_workers.indexing.plan import has_video, pick_spec
from vestigo_workers.regions import run as regions
from vestigo_workers.runs.result import RunResult, read_result


def resume(store: Store, run_id: str, open_progress: OpenProgress) -> RunResult:
    """Process the pending inputs of a run and return its result; a finished run is returned as it is.

    Raises:
        FingerprintMismatch: The model, the parser or a setting is no longer that of the run.
    """
    if store.runs.get(run_id).status == "succeeded":
        return read_result(store, run_id)
    return _prepare_resume(store, run_id)(open_progress)


def retry(
    store: Store,
    run_id: str,
    open_progress: OpenProgress,
    *,
    names: Collection[str] | None = None,
    reason: str | None = None,
    before: Callable[[], None],
) -> tuple[RetryResult, RunResult]:
    """Process the quarantined inputs of a run again, and what is pending; errors are those of `resume`.

    `names` and `reason` of the quarantine restrict the inputs. `before` is called once the run is known to be resumable
    and before anything changes.
    """
    continue_run = _prepare_resume(store, run_id)
    before()
    retried = store.runs.retry(run_id, names, reason=reason, select=pick_spec, has_video=has_video)
    return retried, continue_run(open_progress)


def _prepare_resume(store: Store, run_id: str) -> Callable[[OpenProgress], RunResult]:
    is_regions = store.runs.get(run_id).kind == "regions"
    return (regions.prepare_resume if is_regions else indexing.prepare_resume)(store, run_id)
