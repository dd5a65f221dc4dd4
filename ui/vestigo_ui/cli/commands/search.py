"""`vestigo search`: find a person in an archive."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from vestigo.store.audit.records import query_key, shown_crops
from vestigo_models.errors import BadInput, UsageError
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, make_table, note, out, print_without_time, write_page

if TYPE_CHECKING:
    from vestigo.retrieval.search import SearchResult
    from vestigo.store.open import Store
    from vestigo_models.arrays import UInt8Array


def search_command(
    *,
    store: opts.OpenStore,
    query: Annotated[
        list[str] | None,
        Argument(
            help="Image files (a crop, or a frame with --box) or crop ids; several are views of one person. None with "
            "--where alone."
        ),
    ] = None,
    top: Annotated[int, Option(min=1, help="Crops in the result.")] = 20,
    box: Annotated[str | None, Option(metavar="x,y,w,h", help="The person in the image, in pixels.")] = None,
    searched: opts.SearchedModel,
    rerank: Annotated[bool, Option("--rerank", help="Re-rank the nearest 200 by k-reciprocal neighbours.")] = False,
    part: opts.ArchivePart,
    html: opts.HtmlOption = None,
    audit: opts.AuditOptions,
    device: opts.DeviceOption = "auto",
) -> Output:
    """Find the crops that are most similar to a person, or that have the attributes of --where.

    Several views of one person are fused into one query: each part of the descriptor is the mean over the views that
    show it. The query crops themselves are excluded, and near-identical frames of one tracklet are shown once. Crops
    are compared only with crops of the same model version.

    --where without a query ranks all crops by the probability of the values; the distance is 1 - that probability. With
    a query it restricts the search, like --cameras, to crops with these predicted values.

    --filter discards crops with confident, different attributes, and states its expected losses. At least 50 crops and
    1 % of the searched ones are always kept. With soft the distances contain the penalty.

    The audit log records who searched for what, and the resulting crops, before anything is shown. If it cannot be
    written, as in a catalogue that this account may only read, the search is refused.

    Example: vestigo search person.jpg --store archive --top 10 --cameras gate,hall --html result.html
    """
    from vestigo.retrieval.query import Query, open_encoder
    from vestigo.retrieval.search import search_conditions, search_query

    started = time.monotonic()
    config = opts.read_filter(searched.filter, searched.max_lost)
    crops, images = _read_query(query or [], box)
    if not query and not searched.where:
        raise UsageError("the search has no query: give an image, the id of a crop, or --where")
    if not query and (rerank or searched.filter != "off"):
        raise UsageError("--filter and --rerank compare with a query: give an image or the id of a crop with them")
    scope = part.scope(store, searched.where if query else "")
    searched.check_schema(store)
    snapshot = store.crops.snapshot()
    if query:
        if images:
            encoder = open_encoder(store, searched.model, device)
            views, digest = encoder.extract(list(images.values())), encoder.package.digest
            person = Query(crops=crops, views=views, model=digest)
        else:
            person = Query(crops=crops, model=searched.digest(store))
        result = search_query(store, person, top=top, scope=scope, filter_config=config, rerank=rerank)
    else:
        model = searched.digest(store)
        result = search_conditions(store, searched.where, model=model, top=top, scope=scope)
    seconds = time.monotonic() - started
    details = {
        **_query_details(crops, list(images), box, searched.where),
        **opts.scope_details(scope),
        "filter": searched.filter,
        "model": result.model,
        **shown_crops([hit.crop for hit in result.hits]),
        **({} if html is None else {"to_file": str(html.absolute())}),
    }
    audit.record(store, "search", details, snapshot)
    if html is not None:
        facts = {"Store": Path(store.ref).name} | ({"Conditions": searched.where} if searched.where else {})
        write_search_page(store, html, result, facts, crops=crops, images=list(images.values()))
        note(f"report: {html}")
    output = {
        "results": [
            {
                "rank": hit.rank,
                "crop": hit.crop,
                "distance": hit.distance,
                "camera": hit.camera,
                "time": hit.time.isoformat() if hit.time is not None else None,
                "offset": hit.offset_s,
                "track": hit.track or None,
                "input": hit.input,
                "frame": hit.frame if hit.frame >= 0 else None,
                "attributes": hit.attributes,
                "confidences": hit.confidences,
            }
            for hit in result.hits
        ],
        "compared": result.compared,
        "without_time": result.without_time,
        "kept_fraction": result.kept_fraction,
        "filter": opts.filter_summary(result.filter),
        "model": result.model,
        "seconds": seconds,
    }
    return Output(output, _print)


def _read_query(query: list[str], box: str | None) -> tuple[tuple[str, ...], dict[str, UInt8Array]]:
    """Return the crop ids of a query, and its images by file name."""
    from vestigo.retrieval.query import Box
    from vestigo_models.inference.images import read_image

    crops = tuple(text for text in query if not Path(text).is_file())
    for text in crops:
        if len(text) != 20 or set(text) - set("0123456789abcdef"):
            raise UsageError(f"{text!r} is neither an image file nor the id of a crop (20 hexadecimal digits)")
    files = [text for text in query if text not in crops]
    if box is not None and len(files) != 1:
        raise UsageError(f"--box is the place of a person in one image, but {len(files)} images are given")
    try:
        images = {name: read_image(Path(name)) for name in files}
    except BadInput as error:
        raise UsageError(f"{error.detail} ({error.reason})") from None
    if box is not None:
        images = {name: Box.parse(box).cut(image) for name, image in images.items()}
    return crops, images


def _query_details(crops: tuple[str, ...], files: list[str], box: str | None, where: str) -> dict[str, Any]:
    """Return the query as details of an audit entry."""
    images = [Path(name).read_bytes() for name in files]
    # With an image or crop, --where restricts the search and does not identify the person.
    key = query_key(crops=crops, images=images, box=box or "", where="" if crops or files else where)
    details = {"query": key, "query_crops": list(crops), "query_files": files, "box": box, "where": where}
    return {name: value for name, value in details.items() if value}


def write_search_page(
    store: Store,
    html: Path,
    result: SearchResult,
    facts: Mapping[str, str],
    *,
    crops: Sequence[str],
    images: Sequence[UInt8Array] = (),
) -> None:
    """Write the page of a search for stored crops and images."""
    from vestigo.reports.page import search_page
    from vestigo.retrieval.gallery import without_time_note
    from vestigo_models.inference.images import decode_image

    def read_crops(ids: Sequence[str]) -> list[UInt8Array]:
        return [decode_image(row["image"]) for row in store.crops.get(ids, ["image"], model=result.model)]

    facts = {**facts, "Crops compared": f"{result.compared:,}", "Model": result.model[:12]}
    if note := without_time_note(result.without_time):
        facts |= {"Left out": note}
    if result.filter is not None:
        facts |= {"Crops that the filter kept": f"{result.kept_fraction:.1%}", "Filter": result.filter.describe()}
    hits = read_crops([hit.crop for hit in result.hits])
    write_page(html, search_page(result, [*images, *read_crops(crops)], hits, facts))


def _print(result: Mapping[str, Any]) -> None:
    rows = []
    for row in result["results"]:
        offset = "" if row["offset"] is None else f"+{row['offset']:.1f} s"
        rows.append((row["rank"], f"{row['distance']:.3f}", row["camera"], row["time"] or offset, row["crop"]))
    out.print(make_table((">rank", ">distance", "camera", "time", "~crop"), rows))
    out.print(f"{result['compared']} crops compared in {result['seconds']:.2f} s", style="dim")
    print_without_time(result["without_time"])
    if result["filter"] is not None:
        out.print(f"{result['kept_fraction']:.1%} of them kept. {result['filter']['sentence']}", style="dim")
