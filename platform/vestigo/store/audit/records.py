"""What the audit log and verdicts hand out: frozen facts without a database behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

AuditAction = Literal[
    "sign-in",
    "sign-in refused",
    "sign-out",
    "user",
    "search",
    "view",
    "export",
    "rank",
    "verdict",
    "correct",
    "push",
    "promote",
    "rollback",
    "retry",
]
VerdictValue = Literal["confirmed", "rejected", "not sure"]

SHOWN_CROPS = 1000


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """Who did what and saw what.

    Attributes:
        id: counts from 1 without a gap.
        snapshot: `Store.snapshot` of what was asked.
        case: case number.
        authority: reference of the authorisation.
        details: JSON.
        previous: digest of the entry before.
        digest: SHA-256 over all of the above.
    """

    id: int
    at: datetime
    user: str
    action: AuditAction
    snapshot: str
    case: str | None
    authority: str | None
    details: Mapping[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True)
class AuditReport:
    """Whether the log is as it was written; `head` is the digest of its last entry."""

    entries: int
    head: str
    intact: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What somebody decided about a crop as an answer to a query; a `verdict` of None takes the one before back."""

    id: int
    at: datetime
    user: str
    case: str | None
    query: str
    crop: str
    verdict: VerdictValue | None
    note: str | None


def query_key(*, crops: Iterable[str] = (), pictures: Iterable[bytes] = (), box: str = "", where: str = "") -> str:
    """Return the SHA-256 that names a query in verdicts and in the audit log, whatever the order of its views.

    `pictures` are encoded images as they were given, `box` the place of a person in one of them.
    """
    parts = [*crops, *(hashlib.sha256(picture).hexdigest() for picture in pictures)]
    text = "\n".join([*sorted(parts), f"box {box}", f"where {where}"])
    return hashlib.sha256(text.encode()).hexdigest()


def shown_crops(crops: Sequence[str]) -> dict[str, Any]:
    """Return details of what somebody saw: how many crops, the first 1000 ids, and a SHA-256 over all of them."""
    digest = hashlib.sha256("\n".join(crops).encode()).hexdigest()
    return {"shown": len(crops), "crops": list(crops[:SHOWN_CROPS]), "crops_sha256": digest}
