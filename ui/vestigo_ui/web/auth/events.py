"""Sign-in events and their entry in the audit log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vestigo.store.open import Store
from vestigo_ui.web.auth.users import Users

Action = Literal["sign-in", "sign-in refused", "sign-out"]
MAX_CHANGES = 10_000
"""Entries about users that are compared with the changes of the users file."""
UNKNOWN_USER = "unknown"
"""User of a refused sign-in without an account. The typed name is not logged: it may be a password."""


@dataclass(frozen=True, kw_only=True)
class SignInEvent:
    """A sign-in, a refused sign-in or a sign-out."""

    action: Action
    user: str
    details: Mapping[str, str] = field(default_factory=dict)


OnEvent = Callable[[SignInEvent], object]


def audit_events(store: Store, users: Users) -> OnEvent:
    """Return a function that writes an event to the store's audit log, or raises StoreError.

    Changes of users are written before it: the users file belongs to no store.
    """

    def record(event: SignInEvent) -> None:
        audit_user_changes(store, users)
        store.audit.record(event.user, event.action, details=dict(event.details))

    return record


def audit_user_changes(store: Store, users: Users) -> None:
    """Write the changes of users that the store's audit log lacks."""
    changes = users.changes()
    if not changes:
        return
    logged = {entry.details.get("at") for entry in store.audit.entries(action="user", newest=True, limit=MAX_CHANGES)}
    for change in changes:
        if change["at"] not in logged:
            store.audit.record(change["account"], "user", details=change)
