"""`vestigo search`: find somebody again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

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
from vestigo_ui.cli.output import DeviceOption, HtmlOption, JsonOption, StoredModelOption, StoreOption, emit, note, out

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vestigo.retrieval.search import Hit, SearchResult
    from vestigo.store.open import Store


def search_command(
    store: StoreOption,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            help="Image files (a crop, or a frame with --box) or crop ids; several are views of one person. None with "
            "--where alone.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Crops in the answer.")] = 20,
    box: Annotated[
        str | None, typer.Option("--box", metavar="x,y,w,h", help="The person in the image, in pixels.")
    ] = None,
    model: StoredModelOption = None,
    where: WhereOption = "",
    schema: SchemaOption = None,
    filter_mode: FilterOption = "off",
    max_lost: MaxLostOption = 0.01,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Put the nearest 200 in order by k-reciprocal neighbours.")
    ] = False,
    cameras: CamerasOption = None,
    since: FromOption = None,
    until: ToOption = None,
    html: HtmlOption = None,
    case: CaseOption = None,
    authority: AuthorityOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the crops that look most like a person, or that are as --where describes somebody.

    Several views of one person are fused into one query: of each part of the descriptor the mean over the views that
    show it, which keeps what they share. The query crops themselves are left out, and near-identical frames of one
    tracklet are shown once. Crops are compared only with crops of the same model version.

    --where without a query ranks all crops by how likely they are so; the distance is 1 - that probability. With a
    query it narrows the search, like --cameras, to crops whose likeliest values are these.

    --filter leaves crops out that the model is sure look different, and says what that is expected to cost. However
    sure it is, at least 50 crops and 1 % of those in scope stay. With soft the distances contain the penalty.

    Who asked what and which crops they got is written to the audit log before anything is shown. Where it cannot be
    written, as in a catalogue that this account may only read, the search is refused.

    Example: vestigo search person.jpg --store archive --top 10 --cameras gate,hall --html found.html
    """
    from vestigo.resolve import resolve_digest, resolve_search_model
    from vestigo.retrieval.search import search_conditions, search_query
    from vestigo.store.audit.records import shown_crops
    from vestigo.store.open import Store
    from vestigo_models.errors import UsageError

    started = time.monotonic()
    scope = read_scope(cameras, since, until, where if query else "")
    config = asked(filter_mode, max_lost)
    crops, images = _read_query(query or [], box)
    if not query and not where:
        raise UsageError("nobody to search for: give an image, the id of a crop, or --where")
    if not query and (rerank or filter_mode != "off"):
        raise UsageError("--filter and --rerank compare with a query: give an image or the id of a crop with them")
    with Store.open(store, create=False) as opened:
        check_stored_schema(schema, lambda: resolve_search_model(opened, model and resolve_digest(opened, model)))
        snapshot = opened.crops.snapshot()
        if query:
            person = _query(opened, crops, list(images.values()), model, device)
            result = search_query(opened, person, top=top, scope=scope, filter_config=config, rerank=rerank)
        else:
            digest = model and resolve_digest(opened, model)
            result = search_conditions(opened, where, model=digest, top=top, scope=scope)
        seconds = time.monotonic() - started
        details = {
            **_asked(crops, list(images), box, where),
            **asked_of(scope),
            "filter": filter_mode,
            "model": result.model,
            **shown_crops([hit.crop for hit in result.hits]),
        }
        opened.audit.record(login(), "search", details=details, snapshot=snapshot, case=case, authority=authority)
        if html is not None:
            facts = {"Store": Path(store).name} | ({"Conditions": where} if where else {})
            _write_page(opened, html, result, crops, list(images.values()), facts)
            note(f"report: {html}")
    emit(
        {
            "results": [_row(hit) for hit in result.hits],
            "compared": result.compared,
            "kept_fraction": result.kept_fraction,
            "filter": expected(result.filter),
            "model": result.model,
            "seconds": seconds,
        },
        as_json,
        _print,
    )


def _read_query(query: list[str], box: str | None) -> tuple[tuple[str, ...], dict[str, NDArray[np.uint8]]]:
    """Crop ids, and images by file name."""
    from vestigo.retrieval.query import Box
    from vestigo_models.errors import BadInput, UsageError
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


def _query(
    store: Store, crops: tuple[str, ...], images: list[NDArray[np.uint8]], model: str | None, device: str
) -> Any:
    from vestigo.resolve import resolve_digest
    from vestigo.retrieval.query import Query

    if not images:
        return Query(crops=crops, model=model and resolve_digest(store, model))
    from vestigo.retrieval.query import open_encoder

    encoder = open_encoder(store, model, device)
    return Query(crops=crops, views=encoder.extract(images), model=encoder.package.digest)


def _asked(crops: tuple[str, ...], files: list[str], box: str | None, where: str) -> dict[str, Any]:
    """The query as details of an audit entry."""
    from vestigo.store.audit.records import query_key

    pictures = [Path(name).read_bytes() for name in files]
    # Beside a picture --where narrows the search and is no part of who is looked for.
    key = query_key(crops=crops, pictures=pictures, box=box or "", where="" if crops or files else where)
    details = {"query": key, "query_crops": list(crops), "query_files": files, "box": box, "where": where}
    return {name: value for name, value in details.items() if value}


def _row(hit: Hit) -> dict[str, Any]:
    return {
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


def _write_page(
    store: Store,
    html: Path,
    result: SearchResult,
    crops: tuple[str, ...],
    images: list[NDArray[np.uint8]],
    facts: dict[str, str],
) -> None:
    from vestigo.reports.search import search_page
    from vestigo_models.inference.images import decode_image

    def pictures(ids: tuple[str, ...]) -> list[NDArray[np.uint8]]:
        return [decode_image(row["image"]) for row in store.crops.get(ids, ["image"], model=result.model)]

    facts |= {"Crops compared": f"{result.compared:,}", "Model": result.model[:12]}
    if result.filter is not None:
        facts |= {"Crops that the filter kept": f"{result.kept_fraction:.1%}", "Filter": result.filter.describe()}
    page = search_page(result, [*images, *pictures(crops)], pictures(tuple(hit.crop for hit in result.hits)), facts)
    html.write_text(page, encoding="utf-8")


def _print(result: Mapping[str, Any]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name, justify in (("rank", "right"), ("distance", "right"), ("camera", "left"), ("time", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("crop")
    for row in result["results"]:
        offset = "" if row["offset"] is None else f"+{row['offset']:.1f} s"
        table.add_row(str(row["rank"]), f"{row['distance']:.3f}", row["camera"], row["time"] or offset, row["crop"])
    out.print(table)
    out.print(f"{result['compared']} crops compared in {result['seconds']:.2f} s", style="dim")
    if result["filter"] is not None:
        out.print(f"{result['kept_fraction']:.1%} of them stayed. {result['filter']['sentence']}", style="dim")
