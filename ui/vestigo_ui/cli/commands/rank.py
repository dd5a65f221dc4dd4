"""`vestigo rank`: bulk re-identification."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vestigo_ui.cli.options import (
    AuthorityOption,
    CamerasOption,
    CaseOption,
    FilterOption,
    FromOption,
    MaxLostOption,
    SchemaOption,
    ToOption,
    WhereOption,
    asked,
    asked_of,
    check_stored_schema,
    expected,
    login,
    read_scope,
)
from vestigo_ui.cli.output import DeviceOption, JsonOption, StoredModelOption, StoreOption, emit, out, progress

if TYPE_CHECKING:
    from vestigo.retrieval.bulk import BulkQueries
    from vestigo.store.open import Store


def rank_command(
    store: StoreOption,
    name: Annotated[str, typer.Option("--name", help="The ranking is kept in the store under this name.")],
    queries: Annotated[
        Path | None,
        typer.Argument(
            help="A dataset (its query split), a folder of images, or a text file with one crop id a line.",
            show_default=False,
        ),
    ] = None,
    each_tracklet: Annotated[
        bool, typer.Option("--each-tracklet", help="Every tracklet of the store is a query, its crops fused.")
    ] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="Crops kept a query.")] = 50,
    model: StoredModelOption = None,
    where: WhereOption = "",
    schema: SchemaOption = None,
    filter_mode: FilterOption = "off",
    max_lost: MaxLostOption = 0.01,
    cameras: CamerasOption = None,
    since: FromOption = None,
    until: ToOption = None,
    case: CaseOption = None,
    authority: AuthorityOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Rank the archive for many queries in one pass and keep the ranking in the store.

    A query that is a crop of the store (an image of the same name and content is one), or a tracklet, is not ranked
    against itself. Where datasets tell who is on queries and crops, that is kept with the ranking. A ranking of the
    same name is replaced. Images that cannot be read are left out and counted. --where and --filter are those of
    `vestigo search`. Who asked for what is written to the audit log first; where it cannot be, nothing is ranked.

    Example: vestigo rank wanted/ --store archive --name wanted-2026-05
    """
    from vestigo.resolve import resolve_digest, resolve_search_model
    from vestigo.retrieval.bulk import rank_gallery
    from vestigo.store.audit.records import query_key
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError

    if (queries is None) != each_tracklet:
        raise UsageError("give queries (a dataset, a folder or a list of crops) or --each-tracklet, one of the two")
    started = time.monotonic()
    scope = read_scope(cameras, since, until, where)
    config = asked(filter_mode, max_lost)
    with Store.open(store, create=False) as opened:
        check_stored_schema(schema, lambda: resolve_search_model(opened, model and resolve_digest(opened, model)))
        wanted, excluded = _queries(opened, queries, model, device)
        details = {
            "ranking": name,
            "query": query_key(crops=wanted.names),
            "queries": len(wanted.names),
            "source": "every tracklet" if queries is None else str(queries),
            **asked_of(scope),
            "filter": filter_mode,
            "top": top,
            "model": wanted.model,
        }
        opened.audit.record(login(), "rank", details=details, case=case, authority=authority)
        with progress("crops compared") as update:
            ranked = rank_gallery(
                opened,
                wanted,
                name,
                top=top,
                scope=scope,
                filter_config=config,
                progress=update,
            )
    emit(
        {
            "name": name,
            "queries": len(wanted.names) + sum(excluded.values()),
            "ranked": len(wanted.names),
            "rows": ranked.rows,
            "compared": ranked.compared,
            "kept_fraction": ranked.kept_fraction,
            "filter": expected(ranked.filter),
            "excluded": excluded,
            "model": wanted.model,
            "seconds": time.monotonic() - started,
        },
        as_json,
        _print,
    )


def _queries(store: Store, queries: Path | None, model: str | None, device: str) -> tuple[BulkQueries, dict[str, int]]:
    """The queries, and reason -> number of images left out."""
    from vestigo.resolve import resolve_digest, resolve_search_model
    from vestigo.retrieval.bulk import crop_queries, tracklet_queries
    from vestigo.retrieval.image_queries import image_queries
    from vestigo.retrieval.query import open_encoder
    from vestigo_models.errors import UsageError

    if queries is None or queries.is_file():
        digest = model and resolve_digest(store, model)
        if queries is None:
            return tracklet_queries(store, resolve_search_model(store, digest)), {}
        try:
            lines = queries.read_text(encoding="utf-8").split()
        except UnicodeDecodeError:
            raise UsageError(f"{queries}: not a text file with one crop id a line") from None
        if not lines:
            raise UsageError(f"{queries}: names no crop")
        return crop_queries(store, list(dict.fromkeys(lines)), digest), {}
    with progress("queries") as update:
        return image_queries(queries, lambda: open_encoder(store, model, device), update)


def _print(result: Mapping[str, Any]) -> None:
    out.print(
        f"{result['ranked']} of {result['queries']} queries ranked in {result['seconds']:.1f} s: "
        f"{result['rows']} rows, kept as [bold]{result['name']}[/bold]"
    )
    if result["filter"] is not None:
        out.print(f"{result['kept_fraction']:.1%} of the crops stayed. {result['filter']['sentence']}", style="dim")
    for reason, count in result["excluded"].items():
        out.print(f"  left out: {count} x {reason}", style="yellow", markup=False)
