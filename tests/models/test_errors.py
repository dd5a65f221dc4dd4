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
        ("postgresql://u:pa'ss wo\"rd@h/d is no store", "postgresql://***@h/d is no store"),
        ("http://127.0.0.1:8080 sent 08.00-08.10[0@0].dav", "http://127.0.0.1:8080 sent 08.00-08.10[0@0].dav"),
        ("http://token@h and ray:/token@h:10001", "http://***@h and ray:/***@h:10001"),
        ("postgresql://h/d?user=u&sslpassword=word", "postgresql://h/d?user=u&sslpassword=***"),
        ("host=h password=word user=u", "host=h password=*** user=u"),
        ("GET s3/x?X-Amz-Credential=AK%2F1&X-Amz-Signature=ff", "GET s3/x?X-Amz-Credential=***&X-Amz-Signature=***"),
        ("{'Authorization': 'Token word'}", "{'Authorization': 'Token ***'}"),
        ("set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN", "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
    ],
)
def test_credentials_of_urls_are_hidden(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown
