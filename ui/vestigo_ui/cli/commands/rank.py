"""`vestigo rank`: rank an archive for many queries."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from vestigo.resolve import resolve_search_model
from vestigo_models.errors import UsageError
from vestigo_models.text_files import read_text
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, out, print_line, print_skipped, print_without_time, progress

if TYPE_CHECKING:
    from vestigo.retrieval.bulk import BulkQueries
    from vestigo.store.open import Store
    from vestigo_workers.executors.base import ExecutorSettings


def rank_command(
    *,
    store: opts.OpenStore,
    name: Annotated[str, Option(help="Name of the ranking in the store.")],
    queries: Annotated[
        Path | None,
        Argument(help="A dataset (its query split), a folder of images, or a text file with one crop id per line."),
    ] = None,
    each_tracklet: Annotated[
        bool, Option("--each-tracklet", help="Every tracklet of the store is a query, its crops fused.")
    ] = False,
    top: Annotated[int, Option(min=1, help="Crops kept per query.")] = 50,
    searched: opts.SearchedModel,
    part: opts.ArchivePart,
    audit: opts.AuditOptions,
    execution: opts.ExecutorOptions,
    device: opts.DeviceOption = "auto",
) -> Output:
    """Rank the archive for many queries in one pass and save the ranking in the store.

    A query that is a crop of the store (an image of the same name and content is one), or a tracklet, is not ranked
    against itself. Identities from datasets are saved with the ranking. A ranking of the same name is replaced.
    Unreadable images are skipped and counted. --where and --filter are those of `vestigo search`. The audit log records
    the request first; if it cannot be written, nothing is ranked. Images are processed as by `vestigo index`: the
    result is the same in one process and on any number of actors.

    Example: vestigo rank wanted/ --store archive --name wanted-2026-05
    """
    from vestigo.retrieval.bulk import rank_gallery
    from vestigo.store.audit.records import query_key

    if (queries is None) != each_tracklet:
        raise UsageError("give queries (a dataset, a folder or a list of crops) or --each-tracklet, one of the two")
    started = time.monotonic()
    config = opts.read_filter(searched.filter, searched.max_lost)
    scope = part.scope(store, searched.where)
    searched.check_schema(store)
    bulk, excluded = _read_queries(store, queries, searched, execution.settings(device))
    details = {
        "ranking": name,
        "query": query_key(crops=bulk.names),
        "queries": len(bulk.names),
        "source": "every tracklet" if queries is None else str(queries),
        **opts.scope_details(scope),
        "filter": searched.filter,
        "top": top,
        "model": bulk.model,
    }
    record = partial(audit.record, store, "rank", details)
    with progress("crops compared") as update:
        ranked = rank_gallery(
            store, bulk, name, top=top, scope=scope, filter_config=config, before=record, progress=update
        )
    result = {
        "name": name,
        "queries": len(bulk.names) + sum(excluded.values()),
        "ranked": len(bulk.names),
        "rows": ranked.rows,
        "compared": ranked.compared,
        "without_time": ranked.without_time,
        "kept_fraction": ranked.kept_fraction,
        "filter": opts.filter_summary(ranked.filter),
        "excluded": excluded,
        "model": bulk.model,
        "seconds": time.monotonic() - started,
    }
    return Output(result, _print)


def _read_queries(
    store: Store, queries: Path | None, searched: opts.SearchedModel, settings: ExecutorSettings
) -> tuple[BulkQueries, dict[str, int]]:
    """Return the queries, and the number of skipped images by reason."""
    from vestigo.retrieval.bulk import crop_queries, image_queries, tracklet_queries
    from vestigo.retrieval.query import open_encoder
    from vestigo_workers.evaluation.embedder import ExecutorEmbedder

    if queries is None or queries.is_file():
        digest = searched.digest(store)
        if queries is None:
            return tracklet_queries(store, resolve_search_model(store, digest)), {}
        try:
            lines = read_text(queries).split()
        except UnicodeDecodeError:
            raise UsageError(f"{queries}: not a text file with one crop id per line") from None
        if not lines:
            raise UsageError(f"{queries}: names no crop")
        return crop_queries(store, list(dict.fromkeys(lines)), digest), {}
    with progress("queries") as update, ExitStack() as stack:

        def open_embedder() -> ExecutorEmbedder:
            package = open_encoder(store, searched.model, "cpu").package
            return stack.enter_context(ExecutorEmbedder(package, settings))

        return image_queries(queries, open_embedder, update)


def _print(result: Mapping[str, Any]) -> None:
    print_line(
        f"{result['ranked']} of {result['queries']} queries ranked in {result['seconds']:.1f} s: "
        f"{result['rows']} rows, saved as {result['name']}"
    )
    if result["filter"] is not None:
        out.print(f"{result['kept_fraction']:.1%} of the crops kept. {result['filter']['sentence']}", style="dim")
    print_without_time(result["without_time"])
    print_skipped(result["excluded"])
