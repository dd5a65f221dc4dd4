"""Models and promotions as the store returns them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from vestigo.store.models.facts import ModelFacts


@dataclass(frozen=True)
class Model:
    """A model version that the store knows, and what its crops mean.

    `parent` is the digest of the model that it was trained from, `origin` says how (data, label set, configuration)
    and `scores` how it was judged; both are {} for a model that was not trained here.
    """

    digest: str
    name: str
    location: str
    registered: datetime
    facts: ModelFacts = field(default_factory=ModelFacts)
    parent: str | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Promotion:
    """A change of the model that serves: `model` (a digest, None for no promoted model) took the place of `before`."""

    kind: Literal["promotion", "rollback"]
    model: str | None
    before: str | None
    at: datetime
    by: str
    reasons: tuple[str, ...]


def promotions_in_force(promotions: Iterable[Promotion]) -> list[Promotion]:
    """Return the promotions that a rollback can still undo, the next one to be undone last.

    Args:
        promotions: All promotions and rollbacks of a store, oldest first.
    """
    in_force: list[Promotion] = []
    for promotion in promotions:
        if promotion.kind == "promotion":
            in_force.append(promotion)
        elif in_force:
            in_force.pop()
    return in_force
