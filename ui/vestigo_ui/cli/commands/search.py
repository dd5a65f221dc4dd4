"""`vestigo search`: find a person in an archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from vestigo.store.audit.records import login
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, make_table, note, out, print_without_time, write_page
from vestigo_ui.search.client import AuditedSearch, request_search
from vestigo_ui.search.request import SearchRequest, read_views

if TYPE_CHECKING:
    from vestigo_ui.search.answer import SearchJson


def search_command(
    *,
    store: opts.StoreOption,
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

    A running `vestigo serve` of this account and store answers, which saves loading the model and opening the index.

    The audit log records who searched for what, and the resulting crops, before anything is shown. If it cannot be
    written, as in a catalogue that this account may only read, the search is refused.

    Example: vestigo search person.jpg --store archive --top 10 --cameras gate,hall --html result.html
    """
    crops, images = read_views(query or [])
    request = SearchRequest(crops=crops, images=images, box=box, top=top, rerank=rerank, searched=searched, part=part)
    to_file = None if html is None else str(html.absolute())
    audited = AuditedSearch(case=audit.case, authority=audit.authority, to_file=to_file)
    answer = request_search(store, request, audited, device=device, report=note)
    result, page = search_store(store, request, audited, device=device) if answer is None else answer
    if html is not None and page is not None:
        write_page(html, page)
        note(f"report: {html}")
    return Output(result, _print)


def search_store(
    store: str, request: SearchRequest, audited: AuditedSearch, *, device: str
) -> tuple[SearchJson, str | None]:
    """Search a store in this process and record the search; arguments, result and errors are as in `request_search`."""
    from vestigo_ui.search.warm import WarmSearch

    with opts.open_store(store) as opened:
        answer = WarmSearch(opened, device).answer(request)
        answer.record(opened, login(), **vars(audited))
        return answer.to_json(), None if audited.to_file is None else answer.page(opened)


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
