"""Models and promotions as the store returns them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from vestigo.store.models.facts import ModelFacts


@dataclass(frozen=True)
class Model:
    """A registered model version.

    Attributes:
        digest: Digest of its package.
        location: `default`, a folder or `hub:ID`.
        facts: Interpretation of its crops.
        parent: Digest of the model that it was trained from.
        origin: Data, label set and configuration of its training; {} if it was not trained here.
        scores: Results of its evaluations by key.
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
    """A change of the serving model from `before` to `model`; both are digests, None for no promoted model."""

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
