"""`vestigo search`: find somebody again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vestigo_ui.cli.console import DeviceOption, HtmlOption, JsonOption, StoreOption, emit, note, out
from vestigo_ui.cli.scope import CamerasOption, FromOption, ToOption, read_scope

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vestigo.retrieval import Hit, SearchResult
    from vestigo.store import Store


def search_command(
    query: Annotated[
        list[str],
        typer.Argument(
            help="Image files (a crop, or a frame with --box) or crop ids; several are views of one person."
        ),
    ],
    store: StoreOption,
    top: Annotated[int, typer.Option("--top", min=1, help="Crops in the answer.")] = 20,
    box: Annotated[
        str | None, typer.Option("--box", metavar="x,y,w,h", help="The person in the image, in pixels.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="default, a folder or hub:ID; without it the newest in the store."),
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Put the nearest 200 in order by k-reciprocal neighbours.")
    ] = False,
    cameras: CamerasOption = None,
    since: FromOption = None,
    until: ToOption = None,
    html: HtmlOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the crops that look most like a person.

    Several views of one person are fused into one query: the mean of their embeddings, which keeps what they share.
    The query crops themselves are left out, and near-identical frames of one tracklet are shown once. Crops are
    compared only with crops of the same model version.

    Example: vestigo search person.jpg --store archive --top 10 --cameras gate,hall --html found.html
    """
    from vestigo.retrieval import search
    from vestigo.store import Store

    started = time.monotonic()
    scope = read_scope(cameras, since, until)
    crops, images = _read_query(query, box)
    with Store.open(store, create=False) as opened:
        asked = _query(opened, crops, list(images.values()), model, device)
        result = search(opened, asked, top=top, scope=scope, rerank=rerank)
        seconds = time.monotonic() - started
        if html is not None:
            _write_page(opened, html, result, crops, list(images.values()), {"Store": Path(store).name})
            note(f"report: {html}")
    emit(
        {
            "results": [_row(hit) for hit in result.hits],
            "compared": result.compared,
            "kept_fraction": result.kept_fraction,
            "model": result.model,
            "seconds": seconds,
        },
        as_json,
        _print,
    )


def _read_query(query: list[str], box: str | None) -> tuple[tuple[str, ...], dict[str, NDArray[np.uint8]]]:
    """Crop ids, and images by file name."""
    from vestigo.retrieval.encoder import Box
    from vestigo_models.errors import BadInput, UsageError
    from vestigo_models.images import read_image

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
    from vestigo.retrieval import Query

    if not images and model is None:
        return Query(crops=crops)
    from vestigo.retrieval.encoder import open_encoder

    encoder = open_encoder(store, model, device)
    embeddings = encoder.extract(images) if images else None
    return Query(crops=crops, embeddings=embeddings, model=encoder.package.digest)


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
    }


def _write_page(
    store: Store,
    html: Path,
    result: SearchResult,
    crops: tuple[str, ...],
    images: list[NDArray[np.uint8]],
    facts: dict[str, str],
) -> None:
    from vestigo.reports import search_page
    from vestigo_models.images import decode_image

    def pictures(ids: tuple[str, ...]) -> list[NDArray[np.uint8]]:
        return [decode_image(row["image"]) for row in store.crops(ids, ["image"], model=result.model)]

    facts |= {"Crops compared": f"{result.compared:,}", "Model": result.model[:12]}
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
