"""A store with its networks, kept loaded between searches."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from vestigo.resolve import resolve_digest, resolve_search_model
from vestigo.retrieval.gallery import Gallery
from vestigo.retrieval.query import Box, Query, open_encoder
from vestigo.retrieval.search import search_conditions, search_query
from vestigo_models.errors import BadInput, UsageError
from vestigo_models.inference.image_files import MAX_PIXELS
from vestigo_models.inference.images import decode_isolated
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_ui.cli.options import read_filter
from vestigo_ui.search.answer import SearchAnswer

if TYPE_CHECKING:
    from vestigo.store.open import Store
    from vestigo_models.arrays import UInt8Array
    from vestigo_models.inference.extractor import Extractor
    from vestigo_ui.search.request import SearchRequest

MAX_ENCODERS = 2
"""Networks that are kept: the serving model, and the one before it while an archive is indexed again."""
MAX_SEARCHES = 4
"""Searches at the same time; others wait. Each holds its decoded images and a batch of the gallery."""


class WarmSearch:
    """Answers searches of a store; safe to use from several threads.

    Networks are kept by digest, and vector indexes stay open. Everything else is read from the catalogue in every
    search, so that new runs, promoted models and corrected clocks count at once.
    """

    def __init__(self, store: Store, device: str = "auto") -> None:
        self.store = store
        self.device = device
        self._encoders: OrderedDict[str, Extractor] = OrderedDict()
        self._last_snapshot = ("", "")
        self._loading = threading.Lock()
        self._slots = threading.BoundedSemaphore(MAX_SEARCHES)

    def answer(self, request: SearchRequest, progress: OpenProgress = ignore_stages) -> SearchAnswer:
        """Search the store; `SearchAnswer.record` must be called before the answer is shown.

        Raises:
            UsageError: If the request is malformed or an image cannot be decoded, and as `search_query`.
            StoreError: As `search_query`, `search_conditions` and `open_encoder`.
            ModelError: As `open_encoder`.
        """
        with self._slots:
            return self._answer(request, progress)

    def load(self, progress: OpenProgress = ignore_stages) -> None:
        """Load the network of the model that answers searches, and open its gallery; raises as `open_encoder`."""
        self._encoder(None)
        Gallery.of(self.store, resolve_search_model(self.store), progress)

    def _answer(self, request: SearchRequest, progress: OpenProgress) -> SearchAnswer:
        started = time.monotonic()
        searched, store = request.searched, self.store
        config = read_filter(searched.filter, searched.max_lost)
        request.check()
        images = decode_views(request)
        scope = request.part.scope(store, searched.where if request.has_views else "")
        searched.check_schema(store)
        snapshot = self._snapshot()
        if request.has_views:
            views, digest = None, searched.digest(store) if not images else None
            if images:
                encoder = self._encoder(searched.model)
                views, digest = encoder.extract(images), encoder.package.digest
            query = Query(crops=request.crops, kept=request.kept, views=views, model=digest)
            result = search_query(
                store,
                query,
                top=request.top,
                scope=scope,
                filter_config=config,
                rerank=request.rerank,
                progress=progress,
            )
        else:
            model = searched.digest(store)
            result = search_conditions(
                store, searched.where, model=model, top=request.top, scope=scope, progress=progress
            )
        seconds = time.monotonic() - started
        return SearchAnswer(
            request=request, result=result, snapshot=snapshot, scope=scope, images=images, seconds=seconds
        )

    def _snapshot(self) -> str:
        """Return the snapshot of the store; it is computed again when the store changes."""
        state = self.store.crops.state()
        known, snapshot = self._last_snapshot
        if known != state:
            snapshot = self.store.crops.snapshot()
            self._last_snapshot = (state, snapshot)
        return snapshot

    def _encoder(self, reference: str | None) -> Extractor:
        """Return the network of a model reference, None for the model that answers searches."""
        with self._loading:
            if self._encoders:
                if reference is None:
                    digest = resolve_search_model(self.store).digest
                else:
                    digest = resolve_digest(self.store, reference)
                if digest in self._encoders:
                    self._encoders.move_to_end(digest)
                    return self._encoders[digest]
            encoder = open_encoder(self.store, reference, self.device)
            self._encoders[encoder.package.digest] = encoder
            while len(self._encoders) > MAX_ENCODERS:
                self._encoders.popitem(last=False)
            return encoder


def decode_views(request: SearchRequest) -> list[UInt8Array]:
    """Return the RGB images of a query, cut to its box; raise UsageError for one that cannot be decoded."""
    images = []
    left = request.max_pixels
    try:
        for image in request.images:
            pixels = MAX_PIXELS if left is None else min(MAX_PIXELS, left)
            images.append(decode_isolated(image.data, image.name, max_pixels=pixels))
            left = None if left is None else left - images[-1].shape[0] * images[-1].shape[1]
    except BadInput as error:
        raise UsageError(f"{error.detail} ({error.reason})") from None
    if request.box is not None:
        box = Box.parse(request.box)
        images = [box.cut(image) for image in images]
    return images
