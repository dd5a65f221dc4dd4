"""The projects of what people corrected in place: no server has them, and nothing else is put into them."""

from __future__ import annotations

import re
from itertools import count

from vestigo.store.open import Store
from vestigo_models.errors import UsageError
from vestigo_models.schemas.attributes import AttributeSchema

IN_PLACE = "corrections"


def is_in_place(project: str) -> bool:
    """Whether a project's name is kept for corrections in place."""
    return re.fullmatch(rf"{IN_PLACE}( \d+)?", project) is not None


def require_free(project: str) -> None:
    """Raise UsageError for a name that is kept for corrections in place."""
    if is_in_place(project):
        raise UsageError(f"project {project} holds what people correct in place: choose another name")


def in_place_project(store: Store, schema: AttributeSchema) -> str:
    """The name of the project that corrections of these attributes go to; models with others have others."""
    for number in count(1):
        name = IN_PLACE if number == 1 else f"{IN_PLACE} {number}"
        held = store.label_project(name)
        # A server may have one of this name that is older than corrections are.
        if held is None or (held.server is None and held.schema == schema):
            return name
    raise AssertionError
