"""Sign-in events and their entry in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vestigo.store.open import Store

Action = Literal["sign-in", "sign-in refused", "sign-out"]
UNKNOWN_USER = "unknown"
"""User of a refused sign-in without an account. The typed name is not logged: it may be a password."""


@dataclass(frozen=True, kw_only=True)
class SignInEvent:
    """A sign-in, a refused sign-in or a sign-out."""

    action: Action
    user: str
    details: Mapping[str, str] = field(default_factory=dict)


OnEvent = Callable[[SignInEvent], object]


def audit_events(store: Store) -> OnEvent:
    """Return a function that writes an event to the store's audit log, or raises StoreError."""
    return lambda event: store.audit.record(event.user, event.action, details=dict(event.details))
