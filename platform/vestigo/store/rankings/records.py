"""A kept bulk re-identification, without a database behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Ranking:
    """A kept bulk re-identification: `rows` of `queries` under the model with digest `model`.

    Attributes:
        settings: JSON of what made it (`vestigo.search.bulk`); {} for one that is older than this is kept.
        digest: SHA-256 of its rows: equal digests mean equal rankings.
        path, queries_path: its files; None for one that is older than its queries are kept, with their truth.
    """

    name: str
    created: datetime
    model: str
    queries: int
    rows: int
    settings: dict[str, Any]
    digest: str
    path: str
    queries_path: str | None
