"""What somebody asks page Find: who is looked for, where, and how results are chosen."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo.retrieval.filter import NO_FILTER
from vestigo.retrieval.gallery import EVERYWHERE, Scope
from vestigo.store.audit.records import query_key
from vestigo_models.attribute_filter.modes import FilterConfig
from vestigo_models.errors import ConfigError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_ui.app import url_state

CROP = re.compile(r"[0-9a-f]{20}")
KEY = re.compile(r"[0-9a-f]{64}")
MOST_VIEWS = 32
UPLOADS = "find-uploads"


@dataclass(frozen=True, kw_only=True, eq=False)
class Upload:
    """A view of somebody that is not in the store: `data` is the picture as it was given, or what was cut from it as
    PNG, and `image` the same as RGB pixels."""

    data: bytes
    image: NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """SHA-256 of `data`."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, kw_only=True)
class SearchForm:
    """A search: `crops` of the store and `uploads` (digests) are views of one person; without any, `scope.where` says
    who is looked for."""

    model: str
    crops: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ()
    scope: Scope = EVERYWHERE
    filter: FilterConfig = NO_FILTER
    rerank: bool = False
    top: int = 96

    @property
    def views(self) -> int:
        """How many views of the person there are."""
        return len(self.crops) + len(self.uploads)

    def __bool__(self) -> bool:
        return bool(self.views or self.scope.where)

    def without_views(self) -> SearchForm:
        """The same without the options that compare with a view, where there is none."""
        return self if self.views else replace(self, filter=NO_FILTER, rerank=False)

    def details(self) -> dict[str, Any]:
        """What the audit log keeps of it."""
        return {
            "query_crops": list(self.crops),
            "query_uploads": [digest[:16] for digest in self.uploads],
            "where": self.scope.where,
            "cameras": None if self.scope.cameras is None else list(self.scope.cameras),
            "from": self.scope.since and self.scope.since.isoformat(),
            "to": self.scope.until and self.scope.until.isoformat(),
            "filter": self.filter.filter,
            "rerank": self.rerank,
            "top": self.top,
        }


def verdict_key(asked: SearchForm, uploads: Mapping[str, Upload]) -> str:
    """Return the name under which verdicts about the results are kept: that of the query's root.

    A query has its own `vestigo.store.query_key`, of its views alone; conditions count where there are none. A result
    that joins the query makes it another query about the same person. So that verdicts stay, the address then says
    under `root` what the key was before the first one joined, and that key is used from then on, until somebody
    searches for somebody else.
    """
    root = url_state.text("root")
    if KEY.fullmatch(root):
        return root
    where = "" if asked.views else asked.scope.where
    return query_key(crops=asked.crops, pictures=[uploads[digest].data for digest in asked.uploads], where=where)


def conditions(text: str, schema: AttributeSchema | None) -> dict[str, str]:
    """Read conditions of an address; what the model does not predict is left out."""
    found: dict[str, str] = {}
    for part in text.split(",") if schema is not None else ():
        try:
            found = (schema.parse(part) if schema is not None else {}) | found
        except ConfigError:
            continue
    return found


def as_text(chosen: Mapping[str, str | None]) -> str:
    """Write conditions, in the order of their names."""
    return ",".join(f"{name}={value}" for name, value in sorted(chosen.items()) if value)


def crops_asked() -> tuple[str, ...]:
    """Return the crops that the address names; what can be none is left out."""
    return tuple(crop for crop in url_state.many("crop") if CROP.fullmatch(crop))[:MOST_VIEWS]


def uploads() -> dict[str, Upload]:
    """Return the uploaded views of this session by digest."""
    held: dict[str, Upload] = st.session_state.setdefault(UPLOADS, {})
    return held


def add_upload(upload: Upload) -> None:
    """Let an uploaded view join the query, and show its results."""
    held = uploads()
    if len(held) < MOST_VIEWS:
        held[upload.digest] = upload
    url_state.put(page=None, pane=None, look=None)


def find(crop: str) -> None:
    """Search with a crop of the store alone: for somebody else, for all the page knows."""
    uploads().clear()
    url_state.put(crop=crop, root=None, page=None, pane=None, look=None, show=None)


def join(crops: Iterable[str], *, key: str | None = None) -> None:
    """Let crops of the store join the query; with `key`, verdicts stay under it (see `verdict_key`)."""
    joined = tuple(dict.fromkeys((*crops_asked(), *crops)))[:MOST_VIEWS]
    url_state.put(crop=joined, root=key or url_state.text("root"), page=None, look=None)


def leave(view: str) -> None:
    """Take a crop or an upload out of the query."""
    uploads().pop(view, None)
    left = [crop for crop in crops_asked() if crop != view]
    url_state.put(crop=left, page=None, look=None)
    if not left and not uploads():
        url_state.put(root=None)


def start_again() -> None:
    """Forget who was looked for; where and how stays."""
    uploads().clear()
    url_state.put(crop=None, root=None, page=None, pane=None, look=None, show=None, where=None)
