"""The OpenAPI description of the server, from the operations and the models of their bodies."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter

from vestigo_ui.search.answer import SearchJson
from vestigo_ui.web.api.messages import ErrorJson, HealthJson, SearchBody, SessionJson, SignInBody

_REFERENCE = "#/components/schemas/{model}"
_GROUNDS = {
    "case": "Case number, for the audit log.",
    "authority": "Reference of the authorisation, for the audit log.",
    "blur": "true: hide face and head, where the server leaves it to the user.",
}


class Operation(Enum):
    """What the server can do: method, path, summary, bodies, status of success, and further statuses."""

    HEALTH = ("GET", "/v1/health", "Whether the server runs.", None, HealthJson, 200, ())
    SIGN_IN = ("POST", "/v1/session", "Sign in.", SignInBody, SessionJson, 201, (400, 401, 413, 415, 429, 503))
    SIGN_OUT = ("DELETE", "/v1/session", "Sign out.", None, None, 204, (401, 503))
    SEARCH = (
        "POST",
        "/v1/search",
        "Find the crops that are most similar to a person, or that have attributes.",
        SearchBody,
        SearchJson,
        200,
        (400, 401, 413, 415, 503),
    )
    CROP = ("GET", "/v1/crops/{crop}", "The image of a crop (JPEG).", None, bytes, 200, (400, 401, 404, 503))

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.value[0])

    @property
    def path(self) -> str:
        """The path, with parameters in braces."""
        return str(self.value[1])

    @property
    def is_public(self) -> bool:
        """Whether everybody may request it."""
        return self in (Operation.HEALTH, Operation.SIGN_IN)


def describe() -> dict[str, Any]:
    """Return the OpenAPI document."""
    models = {model for operation in Operation for model in operation.value[3:5] if model not in (None, bytes)}
    inputs: list[tuple[Any, Literal["validation"], TypeAdapter[Any]]] = [
        (model, "validation", TypeAdapter(model)) for model in sorted(models | {ErrorJson}, key=_name)
    ]
    references, schemas = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCE)
    schema_of = {model: schema for (model, _), schema in references.items()}
    paths: dict[str, dict[str, Any]] = {}
    for operation in Operation:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vestigo",
            "version": "1",
            "description": "Searches of an archive. Each search and each view of a crop is written to the audit log "
            "with the name of the user before it is answered.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    _, path, summary, body, answer, success, refusals = operation.value
    responses: dict[str, Any] = {str(success): _response(success, answer, schema_of)}
    responses |= {str(status): _response(status, ErrorJson, schema_of) for status in refusals}
    described: dict[str, Any] = {
        "operationId": operation.name.lower(),
        "summary": summary,
        "security": [] if operation.is_public else [{"session": []}],
        "responses": responses,
    }
    if body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema_of[body]}}}
    if "{crop}" in path:
        text = {"schema": {"type": "string"}}
        described["parameters"] = [
            {"name": "crop", "in": "path", "required": True, "description": "Id of the crop.", **text},
            *({"name": name, "in": "query", "description": meaning, **text} for name, meaning in _GROUNDS.items()),
        ]
    return described


def _response(status: int, answer: Any, schema_of: dict[Any, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if answer is bytes:
        response["content"] = {"image/jpeg": {}}
    elif answer is not None:
        response["content"] = {"application/json": {"schema": schema_of[answer]}}
    return response


def _name(model: Any) -> str:
    return str(model.__name__)
