"""The results of page Find as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from vestigo.reports.search import search_page
from vestigo.retrieval.search import Hit, SearchResult
from vestigo.store.audit.records import Verdict
from vestigo_ui.app.images import Image, hide_upload, load_crops
from vestigo_ui.app.components import tables
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.find import form as search_form
from vestigo_ui.app.pages.find.form import SearchForm
from vestigo_ui.app.pages.find.results import PAGE, verdict_of


def files(context: PageContext, asked: SearchForm, result: SearchResult, hits: Sequence[Hit], verdicts: Mapping[str, Verdict]) -> None:
    """Offer hits as a table (CSV, Parquet) and as a page with their pictures."""
    uploads = [search_form.uploads()[digest].image for digest in asked.uploads]
    tables.downloads(
        context,
        as_frame(hits, verdicts),
        name="results",
        title="Results",
        page=lambda: as_page(context, asked, result, hits, uploads),
    )


def as_frame(hits: Sequence[Hit], verdicts: Mapping[str, Verdict]) -> pd.DataFrame:
    """Return hits as a table, a row each in order of rank, an attribute a column."""
    rows = [
        {
            "rank": hit.rank,
            "distance": hit.distance,
            "crop": hit.crop,
            "camera": hit.camera,
            "time": hit.time,
            "offset_s": hit.offset_s,
            "tracklet": hit.track,
            "input": hit.input,
            "frame": hit.frame if hit.frame >= 0 else None,
            "verdict": verdict_of(hit.crop, verdicts),
            **hit.attributes,
        }
        for hit in hits
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({"frame": "Int64", "offset_s": "float64", "verdict": "string"}) if rows else frame


def as_page(
    context: PageContext, asked: SearchForm, result: SearchResult, hits: Sequence[Hit], uploads: Sequence[Image]
) -> str:
    """Return the page of `vestigo search --html`, with what is hidden on the screen hidden in it, too."""
    shown: dict[str, Image] = {}
    for start in range(0, len(hits), PAGE):
        shown |= load_crops(context, [hit.crop for hit in hits[start : start + PAGE]], model=result.model)
    stored = load_crops(context, asked.crops, model=result.model)
    facts = {"Store": context.store_name, "Crops compared": f"{result.compared:,}", "Model": result.model[:12]}
    facts |= {"Conditions": asked.scope.where} if asked.scope.where else {}
    if result.filter is not None:
        facts |= {"Crops that the filter kept": f"{result.kept_fraction:.1%}", "Filter": result.filter.describe()}
    queries = [*(hide_upload(context, image) for image in uploads), *stored.values()]
    return search_page(replace(result, hits=tuple(hits)), queries, [shown[hit.crop] for hit in hits], facts)
