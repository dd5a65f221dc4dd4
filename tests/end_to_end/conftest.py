"""Stores for end-to-end tests, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_reference(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return what `--store` takes: a folder, or a TOML file that names a PostgreSQL database."""
    if request.param == "sqlite":
        return tmp_path / "store"
    settings = tmp_path / "store.toml"
    url = request.getfixturevalue("postgres_url")
    settings.write_text(f'database = "{url}"\ndata = "{tmp_path / "data"}"\n', encoding="utf-8")
    return settings
