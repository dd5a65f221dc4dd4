"""Searching from a page: progress while it runs, the answer kept, one that the archive outgrew left to be read."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import streamlit as st

from vestigo.retrieval.query import Query, open_encoder
from vestigo.retrieval.search import SearchResult, search_conditions, search_query
from vestigo.sightings.gallery import IndexedArchive
from vestigo.sightings.index import BrowseIndex
from vestigo_models.inference.extractor import Extractor
from vestigo_ui.app.context import PageContext, shared_index, shared_store
from vestigo_ui.app.pages.find.form import SearchForm, Upload

LAST = "find-last"
KEPT_ANSWERS = 32
HEARD_S = 0.2
"""Seconds between two looks of the progress bar."""
STAGES = {"attributes": "Filtering by attributes", "crops": "Comparing crops"}


@dataclass(frozen=True, kw_only=True, eq=False)
class SnapshotResult:
    """What a search found in the archive of `snapshot`."""

    asked: SearchForm
    snapshot: str
    result: SearchResult


class ResultCache:
    """The latest answers, which everybody shares; safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[tuple[SearchForm, str], SnapshotResult] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, asked: SearchForm, snapshot: str) -> SnapshotResult | None:
        """Return the answer to a question, None where it was not asked of that archive, or long ago."""
        with self._lock:
            found = self._held.get((asked, snapshot))
            if found is not None:
                self._held.move_to_end((asked, snapshot))
            return found

    def put(self, answer: SnapshotResult) -> None:
        """Keep an answer in place of the one that was longest not asked for."""
        with self._lock:
            self._held[answer.asked, answer.snapshot] = answer
            while len(self._held) > self._most:
                self._held.popitem(last=False)


@st.cache_resource(show_spinner=False)
def shared_results() -> ResultCache:
    """Return the answers that this process keeps."""
    return ResultCache(KEPT_ANSWERS)


@st.cache_resource(max_entries=2, show_spinner="Loading the model")
def shared_encoder(model: str) -> Extractor:
    """Return the network that made the crops of `model`."""
    return open_encoder(shared_store(), model)


def as_query(asked: SearchForm, uploads: dict[str, Upload]) -> Query:
    """Return the query of the views. Raises ModelError where uploads need a model that is gone."""
    if not asked.uploads:
        return Query(crops=asked.crops, model=asked.model)
    parts = [_encoded(digest, asked.model, uploads[digest]) for digest in asked.uploads]
    return Query(crops=asked.crops, views=CropFeatures.joined(parts), model=asked.model)


def answer(context: PageContext, asked: SearchForm, query: Query) -> tuple[SnapshotResult, bool]:
    """Return the answer, and whether the archive has changed since; only somebody who asks again gets another one."""
    asked = asked.without_views()
    snapshot = context.store.crops.snapshot()
    last: SnapshotResult | None = st.session_state.get(LAST)
    if last is None or last.asked != asked:
        last = shared_results().get(asked, snapshot)
    if last is None:
        bar = st.progress(0.0, text="Searching")
        result = searched(context, asked, query, _teller(bar.progress, crops_in(context, asked, snapshot)))
        bar.empty()
        last = SnapshotResult(asked=asked, snapshot=snapshot, result=result)
        shared_results().put(last)
    st.session_state[LAST] = last
    return last, last.snapshot != snapshot


def ask_again() -> None:
    """Forget the answer of this session: the archive of now is searched."""
    st.session_state.pop(LAST, None)


def searched(
    context: PageContext, asked: SearchForm, query: Query, advance: Callable[[str, int], None]
) -> SearchResult:
    """Search. Raises VestigoError as `vestigo.search.run` and `search_where`."""
    archive = IndexedArchive(context.store, context.index)
    if asked.views:
        return search_query(
            archive,
            query,
            top=asked.top,
            scope=asked.scope,
            filter_config=asked.filter,
            rerank=asked.rerank,
            progress=progress,
        )
    scope = replace(asked.scope, where="")
    return search_conditions(
        archive, asked.scope.where, model=asked.model, top=asked.top, scope=scope, progress=progress
    )


def crops_in(context: PageContext, asked: SearchForm, snapshot: str) -> int:
    """Return about how many crops a search reads."""
    scope = asked.scope
    if scope.since is not None or scope.until is not None:
        counts = context.index.presence(asked.model, 10**9, scope.cameras, scope.since, scope.until)
        return int(sum(counts.column("crops").to_pylist()))
    counted = _camera_crops(shared_index(), asked.model, snapshot)
    return sum(crops for camera, crops in counted.items() if scope.cameras is None or camera in scope.cameras)


@st.cache_data(max_entries=4, show_spinner=False)
def _camera_crops(_index: BrowseIndex, model: str, snapshot: str) -> dict[str, int]:
    return {camera.name: camera.crops for camera in _index.cameras(model)}


@st.cache_data(max_entries=64, show_spinner="Looking at the picture")
def _encoded(digest: str, model: str, _upload: Upload) -> Appearance:
    return Appearance.of(shared_encoder(model).extract([_upload.image]))


def _teller(show: Callable[..., object], total: int) -> OpenProgress:
    """What hears of a search and shows how far it is, now and then."""
    told = 0.0

    def open_stage(stage: str) -> ProgressCallback:
        def report(rows: int, _total: int | None) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told >= HEARD_S:
                told = now
                show(min(1.0, rows / max(1, total)), text=f"{STAGES[stage]}: {rows:,} of {max(rows, total):,}")

        return report

    return open_stage
