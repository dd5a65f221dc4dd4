from __future__ import annotations

import pytest

from vestigo_models.errors import hide_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no such source: s3://AKIA:sec/ret@bucket/x; name a video", "no such source: s3://***@bucket/x; name a video"),
        ("/srv/postgresql:/u:sec@ret@h/db is not a store", "/srv/postgresql:/***@h/db is not a store"),
        ("'https://u:secret@h/db.jpg' is no image", "'https://***@h/db.jpg' is no image"),
        ("a ftp://:secret@h and postgresql+psycopg://u:secret@h/d", "a ftp://***@h and postgresql+psycopg://***@h/d"),
        ("http://127.0.0.1:8080/x, write to me@example.org", "http://127.0.0.1:8080/x, write to me@example.org"),
        ("postgresql://me@host:5432/d does not answer", "postgresql://me@host:5432/d does not answer"),
    ],
)
def test_credentials_of_urls_are_hidden(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown
