"""Context of a page: the store and its browse index, the user, the case, and the audit log."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from vestigo.resolve import resolve_search_model
from vestigo.sightings.index import BrowseIndex
from vestigo.store.audit.records import AuditAction
from vestigo.store.models.records import Model
from vestigo.store.open import Store
from vestigo_models.errors import UsageError
from vestigo_ui.web.auth.identity import User, find_user, is_valid, read_case
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import Settings, current_settings

CASE, AUTHORITY, BLUR = "account-case", "account-authority", "account-blur"
"""Session keys of the case, of the authorisation, and of whether heads are hidden."""


@dataclass(frozen=True, kw_only=True)
class PageContext:
    """What a page needs for one run.

    Attributes:
        store: The open store.
        index: The store's browse index.
        user: The signed-in user.
        settings: Settings of the screen.
        case: Case that the user works on, None without one.
        authority: Authorisation of the case, None without one.
        blurred: Whether faces and heads are hidden in every image that is shown.
    """

    store: Store
    index: BrowseIndex
    user: User
    settings: Settings
    case: str | None
    authority: str | None
    blurred: bool

    @property
    def store_name(self) -> str:
        """Name of the store without its folder."""
        return Path(self.store.ref).stem

    @property
    def index_state(self) -> tuple[str, int]:
        """Snapshot of the browse index and its number of pending crops: cached values depend on both."""
        return self.index.snapshot, self.index.pending()

    def may(self, role: Role) -> bool:
        """Return whether the user has the permissions of `role`."""
        return self.user.may(role)

    def require(self, role: Role, action: str) -> None:
        """Raise UsageError unless the user has the permissions of `role`; `action` is what requires it."""
        if not self.may(role):
            raise UsageError(
                f"{action} requires the role {role}, and {self.user.name} has the role {self.user.role}. "
                "Ask an administrator for it."
            )

    def require_valid(self) -> None:
        """Raise UsageError unless the user's session is still valid, for what runs after the page has been shown."""
        if not is_valid(self.user):
            raise UsageError(f"The session of {self.user.name} has ended. Sign in again.")

    def model(self) -> Model:
        """Return the model whose crops are shown; raises as `vestigo.resolve.resolve_search_model`."""
        return resolve_search_model(self.store)

    def audit(self, action: AuditAction, **details: Any) -> None:
        """Commit an audit entry; call this before the result is shown."""
        self.store.audit.record(self.user.name, action, details=details, case=self.case, authority=self.authority)

    def audit_once(self, action: AuditAction, **details: Any) -> None:
        """Commit an audit entry unless it equals the session's last one of this action.

        A page runs again after every click, which is not another access.
        """
        entry = (action, repr(sorted(details.items())), self.case)
        last = st.session_state.setdefault("account-audited", {})
        if last.get(action) != entry:
            self.audit(action, **details)
            last[action] = entry


PATIENCE_S = 3.0
"""Seconds for which a page waits for a database that stopped answering; then it says so."""


@st.cache_resource(show_spinner="Opening the store")
def shared_store() -> Store:
    """Return the store of this process, which `VESTIGO_STORE` names."""
    store = Store.open(os.environ["VESTIGO_STORE"], create=False)
    store.database.patience = PATIENCE_S
    return store


@st.cache_resource(show_spinner=False)
def shared_index() -> BrowseIndex:
    """Return the browse index of `shared_store`, as far as it is built."""
    return BrowseIndex.open(shared_store())


def signed_in_user() -> User | None:
    """Return the user of this request, None without a valid session."""
    return find_user(st.context.headers)


def make_context(user: User) -> PageContext:
    """Return the context of a page for a user; raises StoreError if the store does not open, and ConfigError."""
    settings, state = current_settings(), st.session_state
    blur = settings.privacy.blur
    stored = read_case(user)
    case, authority = (state.get(CASE), state.get(AUTHORITY)) if stored is None else (stored.case, stored.authority)
    return PageContext(
        store=shared_store(),
        index=shared_index(),
        user=user,
        settings=settings,
        case=case or None,
        authority=authority or None,
        blurred=blur == "always" or (blur == "optional" and bool(state.get(BLUR, False))),
    )
