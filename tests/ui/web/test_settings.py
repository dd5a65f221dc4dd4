"""The settings file of the app."""

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
    load_settings,
    read_secret,
)

COMPLETE = """
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


def write_settings(folder: Path, text: str) -> Path:
    path = folder / "ui.toml"
    path.write_text(text)
    return path


def test_every_key_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    loaded = load_settings(None)
    assert loaded == Settings()
    assert (loaded.session.hours, loaded.oidc, loaded.label_studio) == (12, None, None)
    assert (loaded.audit.require_case, loaded.audit.require_authority) == (False, False)
    assert loaded.privacy.blur == "optional"


def test_file_in_the_configuration_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "vestigo").mkdir()
    write_settings(tmp_path / "vestigo", "[session]\nhours = 3\n")
    assert load_settings(None).session.hours == 3


def test_complete_file_is_read(tmp_path: Path) -> None:
    loaded = load_settings(write_settings(tmp_path, COMPLETE))
    assert loaded.oidc is not None
    assert loaded.label_studio is not None
    assert loaded.oidc.issuer == "https://login.example.org/realms/police"
    assert loaded.oidc.client_secret_file == tmp_path / "oidc.secret"
    assert loaded.oidc.roles == {"vestigo-admins": Role.ADMIN}
    assert loaded.oidc.default_role is Role.VIEWER
    assert str(loaded.label_studio.token_file) == "/elsewhere/token"
    assert (loaded.audit.require_case, loaded.privacy.blur) == (True, "always")


def test_all_errors_are_reported_together(tmp_path: Path) -> None:
    text = '[session]\nhours = 0\nminutes = 3\n[privacy]\nblur = "maybe"\n[oidc]\nclient_id = "x"\n[colours]\nred = 1\n'
    with pytest.raises(ConfigError) as refused:
        load_settings(write_settings(tmp_path, text))
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
    ("old", "new", "message"),
    [
        ('"https://login.example.org/realms/police"', '"http://login.example.org"', "https://"),
        ('"https://login.example.org/realms/police"', '"https://"', "https://"),
        ('scopes = ["openid", "profile"]', 'scopes = ["profile"]', "must contain openid"),
        ('default_role = "viewer"', 'default_role = "king"', "oidc.default_role"),
        ('"vestigo-admins" = "admin"', '"vestigo-admins" = 3', "vestigo-admins"),
        ('url = "https://labels.example.org"', 'url = "labels"', "label_studio.url"),
        ('url = "https://labels.example.org"', 'url = "https://ana:word@labels.org"', "label_studio.url"),
    ],
)
def test_invalid_value_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in COMPLETE
    with pytest.raises(ConfigError, match=message):
        load_settings(write_settings(tmp_path, COMPLETE.replace(old, new)))


def test_provider_without_roles_is_refused(tmp_path: Path) -> None:
    text = COMPLETE.replace('default_role = "viewer"', "").replace('"vestigo-admins" = "admin"', "")
    with pytest.raises(ConfigError, match="no user could sign in"):
        load_settings(write_settings(tmp_path, text))


@pytest.mark.parametrize("text", ["no toml", None])
def test_unusable_file_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ui.toml" if text is None else write_settings(tmp_path, text)
    with pytest.raises(ConfigError, match=r"ui\.toml"):
        load_settings(path)


def test_secret_must_be_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(ConfigError, match="does not exist"):
        read_secret(path)
    path.write_text("quiet\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == "quiet"
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        read_secret(path)


def test_process_has_one_settings_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_current", Settings())
    other = Settings.model_validate({"privacy": {"blur": "off"}})
    settings.use_settings(other)
    assert settings.current_settings() is other


def test_every_key_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sign-in.md").read_text("utf-8")
    tables = {"session": SessionSettings, "oidc": OidcSettings, "audit": AuditSettings, "privacy": PrivacySettings}
    tables["label_studio"] = LabelStudioSettings
    assert tables.keys() == Settings.model_fields.keys()
    keys = {f"{table}.{key}" for table, model in tables.items() for key in model.model_fields}
    assert set(re.findall(r"^\| `(\w+\.\w+)`", page, re.MULTILINE)) == keys
