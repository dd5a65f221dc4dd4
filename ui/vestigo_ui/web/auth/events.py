"""What happens at the door and belongs in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vestigo.store.open import Store

Action = Literal["sign-in", "sign-in refused", "sign-out"]
NOBODY = "unknown"
"""The user of a refusal whose name is no account's: people type passwords into the wrong field."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Somebody signed in or out, or was refused."""

    action: Action
    user: str
    details: Mapping[str, str] = field(default_factory=dict)


OnEvent = Callable[[Event], None]


def audited(store: Store) -> OnEvent:
    """Return what writes an event to the audit log of a store. Raises StoreError where it cannot."""

    def write(event: Event) -> None:
        store.audit.record(event.user, event.action, details=dict(event.details))

    return write
