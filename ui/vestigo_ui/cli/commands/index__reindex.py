"""`vestigo index --reindex-stale` without sources: everything that other models made, again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vestigo_ui.cli.output import emit, out
from vestigo_ui.cli.output__running import print_run, run_with_bars


def reindex_store(ref: str, given: Mapping[str, Any], as_json: bool) -> None:
    """Repeat every run that left crops of other models than the one that serves, or than `given["model"]`.

    `given` are the options that were given. Raises UsageError for those that belong to a source.
    """
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError
    from vestigo_workers.indexing.reindex import POOL, reindex_stale

    if own := sorted(given.keys() - {"model", *POOL}):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in own)
        raise UsageError(f"{named}: without SOURCES every run is repeated as it was; name the sources, or leave it out")
    pool = {name: value for name, value in given.items() if name in POOL}
    with Store.open(ref, create=False) as store:
        done = run_with_bars(lambda stage: reindex_stale(store, stage, model=given.get("model"), pool=pool), store)
        runs = [_summary(store, indexed) for indexed in done.runs]
        result = {
            "model": done.model,
            **_together(runs),
            "runs": runs,
            "gone": list(done.gone),
            "stale": done.stale,
            "unended": list(done.unended),
        }
    emit(result, as_json, _print)


def _summary(store: Any, indexed: Any) -> dict[str, Any]:
    from vestigo_workers.runs.resume import summary

    return summary(store, indexed)


def _together(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all runs did, under the keys of one: the last run's id, the first status that is not the usual one, sums."""
    odd = [run["status"] for run in runs if run["status"] != "succeeded"]
    counted = ("inputs", "done", "empty", "quarantined", "skipped", "frame_failures", "crops", "tracklets", "seconds")
    sums = {name: sum(run[name] for run in runs) for name in counted}
    return {
        "run": runs[-1]["run"] if runs else None,
        "status": odd[0] if odd else "succeeded",
        **sums,
        "crops_per_second": sums["crops"] / sums["seconds"] if sums["seconds"] else 0.0,
    }


def _print(result: Mapping[str, Any]) -> None:
    for run in result["runs"]:
        print_run(run)
    told = {
        "not there any more, and left as they were": ", ".join(result["gone"]),
        "runs that have not ended, and were left alone": ", ".join(result["unended"]),
        "crops of other models that stay (vestigo search --model searches one version)": result["stale"],
    }
    for what, which in told.items():
        if which:
            out.print(f"{what}: {which}", style="yellow", markup=False)
    if not result["stale"]:
        out.print(f"all crops are of model {result['model'][:12]}")
