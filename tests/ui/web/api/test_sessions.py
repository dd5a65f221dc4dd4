"""Sessions of the server: signing in and out, refusals, and what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.query_server import QueryServer, entries, refused, serve_store
from tests.support.signed_in import PASSWORD
from tests.ui.conftest import Archive
from vestigo_models.errors import StoreUnavailable
from vestigo_ui.web.auth.sessions import provider_version
from vestigo_ui.web.auth.throttle import FREE_ATTEMPTS
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import OidcSettings


def test_nothing_is_answered_without_a_session(server: QueryServer, archive: Archive) -> None:
    crop = archive.crops[0]["crop_id"]
    signed_in = server.client("viewer")
    token = signed_in.headers["authorization"].removeprefix("Bearer ")
    assert signed_in.get(f"/v1/crops/{crop}").status_code == 200
    assert signed_in.delete("/v1/session").status_code == 204
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    raised = server.sessions.begin("viewer", Role.ADMIN, "password", server.users.accounts()["viewer"].version)
    unknown_provider = server.sessions.begin("oidc:anna", Role.ADMIN, "oidc", "any")
    client = server.client()
    cookie = {"Cookie": f"{server.sessions.cookie}={server.client('viewer').headers['authorization'][7:]}"}
    for headers in (
        {},
        cookie,
        *({"Authorization": value} for value in ("Bearer", f"Basic {token}", token)),
        *({"Authorization": f"Bearer {value}"} for value in (token, forged, raised, unknown_provider)),
    ):
        for answer in (
            client.post("/v1/search", json={"crops": [crop]}, headers=headers),
            client.get(f"/v1/crops/{crop}", headers=headers),
            client.delete("/v1/session", headers=headers),
        ):
            assert refused(answer, 401).startswith("Sign in first: ")
            assert answer.headers["www-authenticate"] == "Bearer"
    assert len(entries(server, "view")) == 1
    assert entries(server, "search") == []
    assert [entry.action for entry in entries(server, "sign-in", "sign-out")] == ["sign-in", "sign-out", "sign-in"]


def test_change_of_user_ends_tokens(server: QueryServer, archive: Archive) -> None:
    client = server.client("viewer")
    path = f"/v1/crops/{archive.crops[0]['crop_id']}"
    assert client.get(path).status_code == 200
    server.users.set_role("viewer", Role.REVIEWER)
    refused(client.get(path), 401)
    assert server.client("viewer").get(path).status_code == 200


def test_sign_in_tells_token_role_and_end(server: QueryServer) -> None:
    answer = server.client().post("/v1/session", json={"name": "viewer", "password": PASSWORD})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["user"], body["role"]) == ("viewer", "viewer")
    session = server.sessions.find(body["token"])
    assert session is not None
    assert body["expires"].endswith("+00:00")
    assert "set-cookie" not in answer.headers


def test_wrong_passwords_are_recorded_and_delayed(server: QueryServer) -> None:
    client = server.client()
    wrong = {"name": "viewer", "password": "not the password"}
    for _ in range(FREE_ATTEMPTS["both"] + 1):
        assert refused(client.post("/v1/session", json=wrong), 401) == "Name or password is wrong."
    answer = client.post("/v1/session", json=wrong)
    assert refused(answer, 429).startswith("Too many attempts.")
    assert int(answer.headers["retry-after"]) >= 1
    refusals = entries(server, "sign-in refused")
    assert {entry.user for entry in refusals} == {"viewer"}
    assert len(refusals) == FREE_ATTEMPTS["both"] + 1
    refused(client.post("/v1/session", json=wrong | {"name": "a password?"}), 401)
    assert entries(server, "sign-in refused")[-1].user == "unknown"


@pytest.mark.parametrize(
    "body", [{"name": "viewer", "password": "x" * 2000}, {"name": "viewer", "password": ["secret one"]}]
)
def test_refusals_of_sign_in_repeat_no_password(server: QueryServer, body: dict[str, Any]) -> None:
    error = refused(server.client().post("/v1/session", json=body), 400)
    assert error.startswith("password: ")
    assert "xxx" not in error
    assert "secret" not in error
    assert entries(server, "sign-in", "sign-in refused") == []


def test_sign_in_is_closed_while_the_audit_log_cannot_be_written(
    server: QueryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("catalogue does not answer")

    monkeypatch.setattr(server.store.database, "change", fail)
    answer = server.client().post("/v1/session", json={"name": "viewer", "password": PASSWORD})
    assert refused(answer, 503).startswith("Signing in is not possible at the moment.")


def test_session_of_openid_provider_is_accepted(archive: Archive, tmp_path: Path) -> None:
    """Its token comes from the screen, which has the same key."""
    oidc = {
        "issuer": "https://login.example.org",
        "client_id": "vestigo",
        "client_secret_file": "secret",
        "default_role": "viewer",
    }
    with serve_store(archive.store, tmp_path, people={}, configured={"oidc": oidc}) as server:
        version = provider_version(OidcSettings.model_validate(oidc))
        token = server.sessions.begin("oidc:anna", Role.VIEWER, "oidc", version)
        answer = server.client().get(
            f"/v1/crops/{archive.crops[0]['crop_id']}", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200
        assert [entry.user for entry in entries(server, "view")] == ["oidc:anna"]
