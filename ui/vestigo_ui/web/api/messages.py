"""Bodies of requests and responses; the OpenAPI description is made from them."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from vestigo_models.errors import UsageError, key_path, quote
from vestigo_ui.cli.options import ArchivePart, SearchedModel
from vestigo_ui.search.request import QueryImage, SearchRequest

MAX_VIEWS = 32
MAX_IMAGES = 8
MAX_PIXELS = 40_000_000
"""Pixels of all images of a request together: 120 MB decoded."""
MAX_TOP = 1000
SECRET_KEYS = {"password"}


def _decode_base64(value: object) -> bytes:
    try:
        if isinstance(value, str):
            return b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise ValueError("give the bytes of an image file in base64")


Image = Annotated[bytes, BeforeValidator(_decode_base64, json_schema_input_type=str)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SignInBody(_Body):
    """A user's name and password."""

    name: str = Field(max_length=200)
    password: str = Field(max_length=1024)


class SearchBody(_Body):
    """A search; the options are those of `vestigo search`."""

    crops: list[str] = Field(default=[], max_length=MAX_VIEWS, description="Ids of stored crops: views of one person.")
    images: list[Image] = Field(
        default=[], max_length=MAX_IMAGES, description="Image files in base64: further views of the person."
    )
    box: str | None = Field(default=None, description="The person in the one image: x,y,w,h in pixels.")
    top: int = Field(default=20, ge=1, le=MAX_TOP, description="Crops in the result.")
    where: str = Field(default="", description="Conditions on predicted attributes: gender=female,backpack=yes.")
    filter: str = Field(default="off", description="off, strict, quality, a threshold, auto or soft.")
    max_lost: float = Field(default=0.01, description="Of the filter auto: largest share of true matches to lose.")
    rerank: bool = Field(default=False, description="Re-rank the nearest 200 by k-reciprocal neighbours.")
    cameras: list[str] | None = Field(default=None, description="Only these cameras.")
    since: str | None = Field(default=None, alias="from", description="Only from this time on (ISO 8601).")
    until: str | None = Field(default=None, alias="to", description="Only before this time (ISO 8601).")
    model: str | None = Field(default=None, description="Name or digest of a model of the store.")
    case: str | None = Field(default=None, description="Case number, for the audit log.")
    authority: str | None = Field(default=None, description="Reference of the authorisation, for the audit log.")

    def to_request(self, model: str | None) -> SearchRequest:
        """Return the request; `model` is the resolved reference of the model."""
        images = [
            QueryImage(name=f"image {number}", data=data, is_upload=True)
            for number, data in enumerate(self.images, start=1)
        ]
        return SearchRequest(
            crops=tuple(self.crops),
            images=tuple(images),
            box=self.box,
            top=self.top,
            rerank=self.rerank,
            searched=SearchedModel(model=model, where=self.where, filter=self.filter, max_lost=self.max_lost),
            part=ArchivePart(cameras=self.cameras, since=self.since, until=self.until),
            max_pixels=MAX_PIXELS,
        )


class SessionJson(TypedDict):
    """A session: the token is sent with each request, as `Authorization: Bearer TOKEN`, until it expires."""

    token: str
    user: str
    role: str
    expires: str


class HealthJson(TypedDict):
    """The state of the server."""

    status: str


class ErrorJson(TypedDict):
    """What was wrong, the value, and what to do, in one line."""

    error: str


def parse_body(kind: type[Any], data: bytes) -> Any:
    """Return a body of a kind; raise UsageError with one line that names what is wrong."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise UsageError("; ".join(_describe(dict(item)) for item in error.errors(include_url=False)[:5])) from None


def _describe(error: dict[str, Any]) -> str:
    if not error["loc"]:
        return f"the body is no JSON object of this request: {error['msg']}"
    key, message = key_path(error["loc"]), str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{key}: no such key; see /v1/openapi.json"
    if error["type"] == "missing" or SECRET_KEYS & set(error["loc"]):
        return f"{key}: {message}"
    return f"{key}: {quote(error['input'])} is not valid: {message}"
