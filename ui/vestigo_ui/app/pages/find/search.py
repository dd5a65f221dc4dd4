"""Search of page Find: progress while it runs, and a cache of results."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from vestigo.retrieval.query import Query
from vestigo.retrieval.search import SearchResult, search_conditions, search_query
from vestigo.sightings.index import BrowseIndex, IndexedArchive
from vestigo_models.inference.features import CropFeatures
from vestigo_models.progress import OpenProgress, ProgressCallback
from vestigo_ui.app.cache import shared_cache
from vestigo_ui.app.context import PageContext, shared_index
from vestigo_ui.app.images import shared_encoder
from vestigo_ui.app.pages.find.form import SearchForm, Upload, session_uploads
from vestigo_ui.cli.options import ArchivePart, SearchedModel
from vestigo_ui.search.client import request_result
from vestigo_ui.search.request import QueryImage, SearchRequest

LAST = "find-last"
CACHED_RESULTS = 32
PROGRESS_INTERVAL_S = 0.2
STAGES = {"index": "Reading new crops", "attributes": "Filtering by attributes", "crops": "Comparing crops"}
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class CachedSearch:
    """A search form with its result on one snapshot of the store."""

    form: SearchForm
    snapshot: str
    result: SearchResult


def make_query(form: SearchForm, uploads: dict[str, Upload]) -> Query:
    """Return the query of the form's views; raises ModelError if uploads need a model that cannot be loaded."""
    if not form.uploads:
        return Query(crops=form.crops, kept=form.kept, model=form.model)
    parts = [_encode(digest, form.model, uploads[digest]) for digest in form.uploads]
    return Query(crops=form.crops, kept=form.kept, views=CropFeatures.joined(parts), model=form.model)


def make_request(form: SearchForm, uploads: Mapping[str, Upload]) -> SearchRequest:
    """Return a form as a request to a server."""
    scope = form.scope
    part = ArchivePart(
        cameras=None if scope.cameras is None else list(scope.cameras),
        since=None if scope.since is None else scope.since.isoformat(),
        until=None if scope.until is None else scope.until.isoformat(),
    )
    searched = SearchedModel(
        model=form.model, where=scope.where, filter=form.filter.filter, max_lost=form.filter.max_lost
    )
    images = [QueryImage(name=digest, data=uploads[digest].data, is_upload=True) for digest in form.uploads]
    return SearchRequest(
        crops=form.crops,
        kept=form.kept,
        images=tuple(images),
        top=form.top,
        rerank=form.rerank,
        searched=searched,
        part=part,
    )


def cached_search(context: PageContext, form: SearchForm, query: Query) -> tuple[CachedSearch, bool]:
    """Return the result of a form, and whether the store has changed since it was searched.

    A session keeps its last result until the form changes or the user searches again.
    """
    form = form.effective()
    snapshot = context.store.crops.snapshot()
    cache = shared_cache("find-results", CACHED_RESULTS)
    cached: CachedSearch | None = st.session_state.get(LAST)
    if cached is None or cached.form != form:
        cached = cache.get((form, snapshot))
    if cached is None:
        bar = st.progress(0.0, text="Searching")
        result = run_search(context, form, query, _show_progress(bar.progress, count_crops(context, form, snapshot)))
        bar.empty()
        cached = CachedSearch(form=form, snapshot=snapshot, result=result)
        cache.put((form, snapshot), cached)
    st.session_state[LAST] = cached
    return cached, cached.snapshot != snapshot


def forget_result() -> None:
    """Remove the last result of this session, so that the current store is searched."""
    st.session_state.pop(LAST, None)


def run_search(context: PageContext, form: SearchForm, query: Query, progress: OpenProgress) -> SearchResult:
    """Search the store, by a running `vestigo serve` if there is one; raises as `search_query`, `search_conditions`.

    The page records the search.
    """
    request = make_request(form, session_uploads())
    result = request_result(context.store.ref, request, report=log.warning, progress=progress)
    if result is not None:
        return result
    archive = IndexedArchive(context.store, context.index)
    options: dict[str, Any] = {"top": form.top, "progress": progress}
    if form.has_views:
        return search_query(archive, query, scope=form.scope, filter_config=form.filter, rerank=form.rerank, **options)
    return search_conditions(archive, form.where, model=form.model, scope=replace(form.scope, where=""), **options)


def count_crops(context: PageContext, form: SearchForm, snapshot: str) -> int:
    """Return the approximate number of crops that a search reads."""
    scope = form.scope
    if scope.since is not None or scope.until is not None:
        counts = context.index.presence(form.model, 10**9, scope.cameras, scope.since, scope.until)
        return int(sum(counts.column("crops").to_pylist()))
    by_camera = _crops_by_camera(shared_index(), form.model, snapshot)
    return sum(crops for camera, crops in by_camera.items() if scope.cameras is None or camera in scope.cameras)


@st.cache_data(max_entries=4, show_spinner=False)
def _crops_by_camera(_index: BrowseIndex, model: str, snapshot: str) -> dict[str, int]:
    return {camera.name: camera.crops for camera in _index.cameras(model)}


@st.cache_data(max_entries=64, show_spinner="Computing the descriptor")
def _encode(digest: str, model: str, _upload: Upload) -> CropFeatures:
    return shared_encoder(model).extract([_upload.image])


def _show_progress(show: Callable[..., object], total: int) -> OpenProgress:
    """Return progress callbacks that update a bar at most every `PROGRESS_INTERVAL_S` seconds."""
    updated = 0.0

    def open_stage(stage: str) -> ProgressCallback:
        def report(rows: int, _total: int | None) -> None:
            nonlocal updated
            now = time.monotonic()
            if now - updated >= PROGRESS_INTERVAL_S:
                updated = now
                show(min(1.0, rows / max(1, total)), text=f"{STAGES[stage]}: {rows:,} of {max(rows, total):,}")

        return report

    return open_stage
