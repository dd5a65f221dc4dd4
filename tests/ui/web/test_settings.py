"""The settings file of the screen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vestigo_models.errors import ConfigError
from vestigo_ui.web import settings
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import (
    AuditSettings,
    LabelStudioSettings,
    OidcSettings,
    PrivacySettings,
    SessionSettings,
    Settings,
    load,
    secret_of,
)

WHOLE = """
[session]
hours = 8
[oidc]
issuer = "https://login.example.org/realms/police"
client_id = "vestigo"
client_secret_file = "oidc.secret"
scopes = ["openid", "profile"]
role_claim = "roles"
default_role = "viewer"
[oidc.roles]
"vestigo-admins" = "admin"
[audit]
require_case = true
require_authority = true
[privacy]
blur = "always"
[label_studio]
url = "https://labels.example.org"
token_file = "/elsewhere/token"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "ui.toml"
    path.write_text(text)
    return path


def test_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    chosen = load(None)
    assert chosen == Settings()
    assert (chosen.session.hours, chosen.oidc, chosen.label_studio) == (12, None, None)
    assert (chosen.audit.require_case, chosen.audit.require_authority) == (False, False)
    assert chosen.privacy.blur == "optional"


def test_the_file_of_the_convention_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "vestigo").mkdir()
    written(tmp_path / "vestigo", "[session]\nhours = 3\n")
    assert load(None).session.hours == 3


def test_a_whole_file(tmp_path: Path) -> None:
    chosen = load(written(tmp_path, WHOLE))
    assert chosen.oidc is not None
    assert chosen.label_studio is not None
    assert chosen.oidc.issuer == "https://login.example.org/realms/police"
    assert chosen.oidc.client_secret_file == tmp_path / "oidc.secret"
    assert chosen.oidc.roles == {"vestigo-admins": Role.ADMIN}
    assert chosen.oidc.default_role is Role.VIEWER
    assert str(chosen.label_studio.token_file) == "/elsewhere/token"
    assert (chosen.audit.require_case, chosen.privacy.blur) == (True, "always")


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    text = '[session]\nhours = 0\nminutes = 3\n[privacy]\nblur = "maybe"\n[oidc]\nclient_id = "x"\n[colours]\nred = 1\n'
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text))
    line = str(refused.value)
    assert "\n" not in line
    for part in (
        "session.hours",
        "session.minutes: no such key",
        "privacy.blur",
        "oidc.issuer",
        "colours: no such key",
    ):
        assert part in line


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"https://login.example.org/realms/police"', '"http://login.example.org"', "https://"),
        ('"https://login.example.org/realms/police"', '"https://"', "https://"),
        ('scopes = ["openid", "profile"]', 'scopes = ["profile"]', "must contain openid"),
        ('default_role = "viewer"', 'default_role = "king"', "oidc.default_role"),
        ('"vestigo-admins" = "admin"', '"vestigo-admins" = 3', "vestigo-admins"),
        ('url = "https://labels.example.org"', 'url = "labels"', "label_studio.url"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in WHOLE
    with pytest.raises(ConfigError, match=said):
        load(written(tmp_path, WHOLE.replace(old, new)))


def test_a_provider_that_lets_nobody_in_is_a_mistake(tmp_path: Path) -> None:
    text = WHOLE.replace('default_role = "viewer"', "").replace('"vestigo-admins" = "admin"', "")
    with pytest.raises(ConfigError, match="nobody is let in"):
        load(written(tmp_path, text))


@pytest.mark.parametrize("text", ["no toml", None])
def test_files_that_are_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ui.toml" if text is None else written(tmp_path, text)
    with pytest.raises(ConfigError, match=r"ui\.toml"):
        load(path)


def test_secrets_are_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(ConfigError, match="is not there"):
        secret_of(path)
    path.write_text("quiet\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        secret_of(path)
    path.chmod(0o600)
    assert secret_of(path) == "quiet"
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        secret_of(path)


def test_the_process_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_current", Settings())
    other = Settings.model_validate({"privacy": {"blur": "off"}})
    settings.use(other)
    assert settings.current() is other


def test_every_key_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sign-in.md").read_text("utf-8")
    tables = {"session": SessionSettings, "oidc": OidcSettings, "audit": AuditSettings, "privacy": PrivacySettings}
    tables["label_studio"] = LabelStudioSettings
    assert tables.keys() == Settings.model_fields.keys()
    keys = {f"{table}.{key}" for table, model in tables.items() for key in model.model_fields}
    assert set(re.findall(r"^\| `(\w+\.\w+)`", page, re.MULTILINE)) == keys
