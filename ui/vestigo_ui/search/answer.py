"""The answer of a search: its JSON, its page and its audit entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import TypedDict  # That of Python 3.11 has no description for OpenAPI.

from vestigo.store.audit.records import shown_crops
from vestigo_ui.cli.options import filter_summary, scope_details
from vestigo_ui.cli.output import json_types

if TYPE_CHECKING:
    from vestigo.retrieval.gallery import Scope
    from vestigo.retrieval.search import SearchResult
    from vestigo.store.open import Store
    from vestigo_models.arrays import UInt8Array
    from vestigo_ui.search.request import SearchRequest


class HitJson(TypedDict):
    """One crop of a result, nearest first."""

    rank: int
    crop: str
    distance: float
    camera: str
    time: str | None
    offset: float | None
    track: str | None
    input: str
    frame: int | None
    attributes: dict[str, str]
    confidences: dict[str, float]


class SearchJson(TypedDict):
    """What `vestigo search --json` prints."""

    results: list[HitJson]
    compared: int
    without_time: int
    kept_fraction: float
    filter: dict[str, Any] | None
    model: str
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchAnswer:
    """The result of a request on a snapshot of the store.

    Attributes:
        scope: The part of the archive that was searched.
        images: The RGB images of the query, cut to their box.
        seconds: How long the search took.
    """

    request: SearchRequest
    result: SearchResult
    snapshot: str
    scope: Scope
    images: Sequence[UInt8Array]
    seconds: float

    def record(
        self, store: Store, user: str, *, case: str | None, authority: str | None, to_file: str | None = None
    ) -> None:
        """Commit the audit entry; call this before the result is shown. Raises StoreError if it cannot be written."""
        details = {
            **self.request.query_details(),
            **scope_details(self.scope),
            "filter": self.request.searched.filter,
            "model": self.result.model,
            **shown_crops([hit.crop for hit in self.result.hits]),
            **({} if to_file is None else {"to_file": to_file}),
        }
        store.audit.record(user, "search", details=details, snapshot=self.snapshot, case=case, authority=authority)

    def to_json(self) -> SearchJson:
        """Return the JSON of the result."""
        result = self.result
        values = {
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
            "filter": filter_summary(result.filter),
            "model": result.model,
            "seconds": self.seconds,
        }
        return cast("SearchJson", json_types(values))

    def page(self, store: Store) -> str:
        """Return the HTML page of the result."""
        where = self.request.searched.where
        facts = {"Store": Path(store.ref).name} | ({"Conditions": where} if where else {})
        return make_page(store, self.result, facts, crops=self.request.crops, images=self.images)


def make_page(
    store: Store,
    result: SearchResult,
    facts: Mapping[str, str],
    *,
    crops: Sequence[str],
    images: Sequence[UInt8Array] = (),
) -> str:
    """Return the HTML page of a search for stored crops and images."""
    from vestigo.reports.page import search_page
    from vestigo.resolve import require_crops
    from vestigo.retrieval.gallery import Gallery, without_time_note
    from vestigo_models.inference.images import decode_image

    gallery = Gallery.of(store, require_crops(store, result.model))

    def read_crops(ids: Sequence[str]) -> list[UInt8Array]:
        return [decode_image(row["image"]) for row in gallery.rows(ids, ["image"])]

    facts = {**facts, "Crops compared": f"{result.compared:,}", "Model": result.model[:12]}
    if note := without_time_note(result.without_time):
        facts |= {"Left out": note}
    if result.filter is not None:
        facts |= {"Crops that the filter kept": f"{result.kept_fraction:.1%}", "Filter": result.filter.describe()}
    hits = read_crops([hit.crop for hit in result.hits])
    return search_page(result, [*images, *read_crops(crops)], hits, facts)
