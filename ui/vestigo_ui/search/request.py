"""A search as users state it: views of a person, conditions, and what is searched."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vestigo.store.audit.records import query_key
from vestigo_models.errors import BadInput, UsageError
from vestigo_models.inference.image_files import read_encoded
from vestigo_ui.cli.options import ArchivePart, SearchedModel


@dataclass(frozen=True, kw_only=True)
class QueryImage:
    """An encoded image of a query; `name` is that of its file, or of an upload for messages."""

    name: str
    data: bytes
    is_upload: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """A search.

    Attributes:
        crops: Ids of stored crops that are views of the person.
        kept: Those of `crops` that may be results.
        images: Images that are views of the person.
        box: The person in the one image, as `x,y,w,h` in pixels.
        max_pixels: Largest number of pixels of all images together; None for no limit but that of one image.
    """

    crops: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    images: tuple[QueryImage, ...] = ()
    box: str | None = None
    top: int = 20
    rerank: bool = False
    searched: SearchedModel = field(default_factory=SearchedModel)
    part: ArchivePart = field(default_factory=ArchivePart)
    max_pixels: int | None = None

    @property
    def has_views(self) -> bool:
        """Whether the query has views of the person."""
        return bool(self.crops or self.images)

    def check(self) -> None:
        """Raise UsageError if the query is malformed or missing, or lacks a view that an option needs."""
        for text in self.crops:
            if len(text) != 20 or set(text) - set("0123456789abcdef"):
                raise UsageError(f"{text!r} is neither an image file nor the id of a crop (20 hexadecimal digits)")
        if self.box is not None and len(self.images) != 1:
            raise UsageError(f"--box is the place of a person in one image, but {len(self.images)} images are given")
        if not self.has_views and not self.searched.where:
            raise UsageError("the search has no query: give an image, the id of a crop, or --where")
        if not self.has_views and (self.rerank or self.searched.filter != "off"):
            raise UsageError("--filter and --rerank compare with a query: give an image or the id of a crop with them")

    def query_details(self) -> dict[str, Any]:
        """Return the query as details of an audit entry."""
        # With an image or crop, --where restricts the search and does not identify the person.
        where = self.searched.where
        images = [image.data for image in self.images]
        details = {
            "query": query_key(
                crops=self.crops, images=images, box=self.box or "", where="" if self.has_views else where
            ),
            "query_crops": list(self.crops),
            "query_files": [image.name for image in self.images if not image.is_upload],
            "query_uploads": [hashlib.sha256(image.data).hexdigest()[:16] for image in self.images if image.is_upload],
            "box": self.box,
            "where": where,
        }
        return {name: value for name, value in details.items() if value}

    def to_json(self) -> dict[str, Any]:
        """Return the request for another process of this machine: paths are absolute."""
        images = [vars(image) | {"data": b64encode(image.data).decode()} for image in self.images]
        searched = replace(self.searched, model=_absolute(self.searched.model), schema=_absolute(self.searched.schema))
        return vars(self) | {"images": images, "searched": vars(searched), "part": vars(self.part)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SearchRequest:
        """Return the request that `to_json` describes."""
        images = tuple(QueryImage(**image | {"data": b64decode(image["data"])}) for image in values["images"])
        parts = {"searched": SearchedModel(**values["searched"]), "part": ArchivePart(**values["part"])}
        crops = {name: tuple(values[name]) for name in ("crops", "kept")}
        return cls(**{**values, **crops, **parts, "images": images})


def read_views(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[QueryImage, ...]]:
    """Return the crop ids and the images that the arguments of a query name.

    Raises:
        UsageError: If a file cannot be read.
    """
    files = [text for text in texts if Path(text).is_file()]
    try:
        images = tuple(QueryImage(name=name, data=read_encoded(Path(name))) for name in files)
    except BadInput as error:
        raise UsageError(f"{error.detail} ({error.reason})") from None
    return tuple(text for text in texts if text not in files), images


def _absolute(reference: str | None) -> str | None:
    """Return a reference to a model or schema, with the whole path if it names a file or folder."""
    return reference if reference is None or not Path(reference).exists() else str(Path(reference).absolute())
