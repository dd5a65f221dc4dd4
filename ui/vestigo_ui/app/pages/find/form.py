"""Search form of page Find: query, scope and options, held by the address and the session."""

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
MAX_VIEWS = 32
UPLOADS = "find-uploads"
CONDITIONS = ("where", "within", "since", "until")
"""Parameters of the address that limit what is searched."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Upload:
    """A view of the person that is not in the store: its RGB pixels, and the bytes of its file or of a PNG."""

    data: bytes
    image: NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """SHA-256 of `data`."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, kw_only=True)
class SearchForm:
    """What is searched: crops of the store and uploads (by digest) that are views of a person, and options.

    `kept` are those of `crops` that were confirmed as results of the query, and stay among them. Without views, the
    conditions of the scope are the query. `model` is the digest of the model.
    """

    model: str
    crops: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ()
    scope: Scope = EVERYWHERE
    filter: FilterConfig = NO_FILTER
    rerank: bool = False
    top: int = 96

    @property
    def has_views(self) -> bool:
        """Whether the query has views of the person."""
        return bool(self.crops or self.uploads)

    @property
    def has_query(self) -> bool:
        """Whether there is anything to search for."""
        return self.has_views or bool(self.scope.where)

    @property
    def where(self) -> str:
        """Conditions on attributes that are the query; "" if the query has views."""
        return "" if self.has_views else self.scope.where

    def effective(self) -> SearchForm:
        """Return the form without the options that need a view if there is none."""
        return self if self.has_views else replace(self, filter=NO_FILTER, rerank=False)

    def audit_details(self) -> dict[str, Any]:
        """Return the details of an audit entry."""
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


def verdict_key(form: SearchForm, uploads: Mapping[str, Upload]) -> str:
    """Return the key under which verdicts about the results are recorded.

    The key is `vestigo.store.audit.records.query_key` of the views, or of the conditions if there are none. A result
    that is added to the query would change it, so the address then holds the first query's key under `root`, and that
    key is used until another person is searched.
    """
    root = url_state.text("root")
    if KEY.fullmatch(root):
        return root
    if root:
        url_state.refuse(f'"{root}" is not the key of a query, 64 hexadecimal digits.')
    return query_key(crops=form.crops, images=[uploads[digest].data for digest in form.uploads], where=form.where)


def parse_conditions(text: str, schema: AttributeSchema) -> tuple[dict[str, str], list[str]]:
    """Return the conditions of an address, and what is wrong with those that the schema does not have."""
    conditions: dict[str, str] = {}
    mistakes: list[str] = []
    for part in filter(None, text.split(",")):
        try:
            conditions = schema.parse(part) | conditions
        except ConfigError as error:
            mistakes.append(str(error))
    return conditions, mistakes


def format_conditions(conditions: Mapping[str, str | None]) -> str:
    """Return conditions as the address holds them, sorted by name."""
    return ",".join(f"{name}={value}" for name, value in sorted(conditions.items()) if value)


def query_crops() -> tuple[str, ...]:
    """Return the crops of the query, as the address holds them; malformed ids, and too many, are refused."""
    named = url_state.many("crop")
    crops = [crop for crop in named if CROP.fullmatch(crop)]
    for crop in set(named).difference(crops):
        url_state.refuse(f'"{crop}" is not the id of a crop, 20 hexadecimal digits.')
    if len(crops) > MAX_VIEWS:
        url_state.refuse(f"a query has at most {MAX_VIEWS} crops; {len(crops) - MAX_VIEWS} are left out.")
    return tuple(crops[:MAX_VIEWS])


def session_uploads() -> dict[str, Upload]:
    """Return the uploads of this session by digest."""
    uploads: dict[str, Upload] = st.session_state.setdefault(UPLOADS, {})
    return uploads


def add_upload(upload: Upload) -> None:
    """Add an upload to the query, and show the results."""
    uploads = session_uploads()
    if len(uploads) < MAX_VIEWS:
        uploads[upload.digest] = upload
    url_state.put(page=None, pane=None, look=None)


def search_with(crop: str) -> None:
    """Start another search, with one crop of the store alone: without other views, attributes, cameras and times."""
    session_uploads().clear()
    url_state.put(crop=crop, **dict.fromkeys(("root", "page", "pane", "look", "show", *CONDITIONS)))


def add_crops(crops: Iterable[str], *, key: str | None = None) -> None:
    """Add crops of the store to the query; with `key`, verdicts remain under it (see `verdict_key`)."""
    joined = tuple(dict.fromkeys((*query_crops(), *crops)))[:MAX_VIEWS]
    url_state.put(crop=joined, root=key or url_state.text("root"), page=None, look=None)


def remove_view(view: str) -> None:
    """Remove a crop or an upload from the query."""
    session_uploads().pop(view, None)
    crops = [crop for crop in query_crops() if crop != view]
    url_state.put(crop=crops, page=None, look=None)
    if not crops and not session_uploads():
        url_state.put(root=None)


def reset_query() -> None:
    """Remove the query; scope and options remain."""
    session_uploads().clear()
    url_state.put(crop=None, root=None, page=None, pane=None, look=None, show=None, where=None, sheet=None)
