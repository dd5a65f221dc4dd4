"""Audit entries and verdicts as the store returns them, and the account, keys and details that they hold."""

import hashlib
import os
import pwd
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
    "camera",
    "vacuum",
    "reindex",
]
VerdictValue = Literal["confirmed", "rejected", "not sure"]

SHOWN_CROPS = 1000


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """An entry of the audit log.

    Attributes:
        id: Number of the entry, from 1 without a gap.
        snapshot: Snapshot of the crops that were read.
        details: JSON.
        previous: Digest of the entry before.
        digest: SHA-256 of all other fields.
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
    """Result of a verification; `head` is the digest of the last entry."""

    entries: int
    head: str
    intact: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A verdict on a crop as a result of a query; a `verdict` of None withdraws the one before."""

    id: int
    at: datetime
    user: str
    case: str | None
    query: str
    crop: str
    verdict: VerdictValue | None
    note: str | None


def login() -> str:
    """Return the name of the account that runs this process, independent of the environment."""
    user = os.getuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


def query_key(*, crops: Iterable[str] = (), images: Iterable[bytes] = (), box: str = "", where: str = "") -> str:
    """Return the SHA-256 that names a query in verdicts and in the audit log; the order of its views does not matter.

    Args:
        crops: Ids of its crops.
        images: Its encoded images.
        box: Place of a person in one of the images.
        where: Its attribute conditions.
    """
    parts = [*crops, *(hashlib.sha256(image).hexdigest() for image in images)]
    text = "\n".join([*sorted(parts), f"box {box}", f"where {where}"])
    return hashlib.sha256(text.encode()).hexdigest()


def shown_crops(crops: Sequence[str]) -> dict[str, Any]:
    """Return audit details of shown crops: their number, the first 1000 ids, and the SHA-256 of all ids."""
    digest = hashlib.sha256("\n".join(crops).encode()).hexdigest()
    return {"shown": len(crops), "crops": list(crops[:SHOWN_CROPS]), "crops_sha256": digest}
