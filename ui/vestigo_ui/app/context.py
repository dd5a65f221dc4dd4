"""What a page is given: the open store and its index, who is asking, and the door to the audit log."""

from __future__ import annotations

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
from vestigo_ui.web.auth.identity import User, user_of
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import Settings, current

CASE, AUTHORITY, BLUR = "desk-case", "desk-authority", "desk-blur"
"""Keys of the session under which a person's case stands, and whether heads are hidden."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One run of a page for one person; `case` and `authority` are what the person works on, and who allowed it.

    With `blurred`, no picture is shown in which a face could be recognised.
    """

    store: Store
    index: BrowseIndex
    user: User
    settings: Settings
    case: str | None
    authority: str | None
    blurred: bool

    @property
    def name(self) -> str:
        """The store's name, which does not say where it lies."""
        return Path(self.store.ref).stem

    def may(self, role: Role) -> bool:
        """Whether the person may do what `role` may: viewers look, reviewers decide and correct, admins promote."""
        return self.user.may(role)

    def model(self) -> Model:
        """The model whose crops pages show. Raises StoreError as `vestigo.resolve.resolve_search_model`."""
        return resolve_search_model(self.store)

    def audit(self, action: AuditAction, **details: Any) -> None:
        """Write down what the person does, before it is shown."""
        self.store.audit.record(self.user.name, action, details=details, case=self.case, authority=self.authority)

    def audit_once(self, action: AuditAction, **details: Any) -> None:
        """Write it down unless it is what this person's session wrote last: a page runs again after every click."""
        told = (action, repr(sorted(details.items())), self.case)
        last = st.session_state.setdefault("desk-audited", {})
        if last.get(action) != told:
            self.audit(action, **details)
            last[action] = told


@st.cache_resource(show_spinner="Opening the store")
def the_store() -> Store:
    """Return the store that the app was started for."""
    return Store.open(os.environ["VESTIGO_STORE"], create=False)


@st.cache_resource(show_spinner=False)
def the_index() -> BrowseIndex:
    """Return the index of the store, as far as it was built."""
    return BrowseIndex.open(the_store())


def signed_in() -> User | None:
    """Return who is asking; the layer in front of the app says so in headers that nobody else can set."""
    return user_of(st.context.headers)


def sit_down(user: User) -> Desk:
    """Return a person's desk. Raises StoreError where the store does not answer."""
    settings, state = current(), st.session_state
    blur = settings.privacy.blur
    return Desk(
        store=the_store(),
        index=the_index(),
        user=user,
        settings=settings,
        case=state.get(CASE) or None,
        authority=state.get(AUTHORITY) or None,
        blurred=blur == "always" or (blur == "optional" and bool(state.get(BLUR, False))),
    )
