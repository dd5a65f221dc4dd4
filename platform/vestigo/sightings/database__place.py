"""Where a store's browse index lies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vestigo.store.open import Store

NAME = "browse.sqlite"


def index_path(store: Store) -> Path:
    """In a store's folder, or, for a store behind a TOML file, in the user's cache."""
    ref = Path(store.ref)
    if ref.is_dir():
        return ref / NAME
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "vestigo" / f"{hashlib.sha256(store.ref.encode()).hexdigest()}.sqlite"
