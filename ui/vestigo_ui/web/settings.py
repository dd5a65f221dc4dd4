"""Settings of the app: one TOML file with a default for every key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vestigo_models.errors import ConfigError
from vestigo_models.text_files import read_text
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.private_files import config_folder, read_private


def _check_address(text: str) -> str:
    """Return the text unchanged, because a provider compares its issuer letter by letter."""
    parts = urlsplit(text)
    is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or parts.scheme not in (("https", "http") if is_local else ("https",)):
        raise ValueError("must be an address that begins with https:// (http:// on this machine only)")
    return text


SecureAddress = Annotated[str, AfterValidator(_check_address)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SessionSettings(_Table):
    """`[session]`."""

    hours: float = Field(default=12.0, gt=0, le=24 * 31, description="How long a sign-in lasts.")


class OidcSettings(_Table):
    """`[oidc]`: sign-in through an OpenID provider."""

    issuer: SecureAddress = Field(description="The provider's issuer, as in its discovery document.")
    client_id: str = Field(min_length=1, description="The identifier that the provider gave to this app.")
    client_secret_file: Path = Field(description="A file of mode 0600 that holds the client's secret.")
    scopes: tuple[str, ...] = Field(default=("openid", "profile", "email"), description="Scopes to request.")
    role_claim: str = Field(default="groups", description="Claim of the identity token that holds roles.")
    roles: dict[str, Role] = Field(default={}, description="Role by value of that claim; the highest applies.")
    default_role: Role | None = Field(default=None, description="Role of all other users, who are refused without it.")

    @field_validator("scopes")
    @classmethod
    def _require_openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes:
            raise ValueError("must contain openid")
        return scopes

    @model_validator(mode="after")
    def _require_role(self) -> OidcSettings:
        if not self.roles and self.default_role is None:
            raise ValueError("needs roles or a default_role; no user could sign in without them")
        return self


class AuditSettings(_Table):
    """`[audit]`: required before a search, view or export."""

    require_case: bool = Field(default=False, description="Require a case number.")
    require_authority: bool = Field(default=False, description="Require a reference of the authorisation.")


class PrivacySettings(_Table):
    """`[privacy]`."""

    blur: Literal["off", "optional", "always"] = Field(
        default="optional", description="Whether faces and heads are blurred in all images."
    )


class LabelStudioSettings(_Table):
    """`[label_studio]`: the server for review."""

    url: str = Field(
        pattern=r"^https?://[^/@]+(/[^@]*)?$", description="Address of the server for browsers, without a user."
    )
    token_file: Path = Field(description="A file of mode 0600 that holds an access token.")


class Settings(_Table):
    """The whole file."""

    session: SessionSettings = SessionSettings()
    oidc: OidcSettings | None = None
    audit: AuditSettings = AuditSettings()
    privacy: PrivacySettings = PrivacySettings()
    label_studio: LabelStudioSettings | None = None


def load_settings(named: Path | None) -> Settings:
    """Return the settings of `named`, else of `ui.toml` in the configuration folder, else the defaults.

    Paths in the file are relative to its folder.

    Raises:
        ConfigError: If the named file does not exist, is not TOML, or has invalid keys; all of them are reported.
    """
    path = named or config_folder() / "ui.toml"
    try:
        keys = tomllib.loads(read_text(path))
    except FileNotFoundError:
        if named is None:
            return Settings()
        raise ConfigError(f"{path} does not exist; name the settings file with --config") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from error
    for table, key in (("oidc", "client_secret_file"), ("label_studio", "token_file")):
        if isinstance(keys.get(table), dict) and isinstance(keys[table].get(key), str):
            keys[table][key] = str(path.parent / keys[table][key])
    try:
        return Settings.model_validate(keys)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_format_error(dict(item)) for item in error.errors())) from None


def read_secret(path: Path) -> str:
    """Return the secret in a file of mode 0600; raise ConfigError if it is missing, empty or open to others."""
    try:
        secret = read_private(path).strip()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; the settings need a secret in it") from None
    if not secret:
        raise ConfigError(f"{path} is empty; the settings need a secret in it")
    return secret


def _format_error(error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: no such key"
    return f"{key}: {str(error['msg']).removeprefix('Value error, ')}"


_current = Settings()


def current_settings() -> Settings:
    """Return the settings of this process; the defaults until the server has set others."""
    return _current


def use_settings(settings: Settings) -> None:
    """Set the settings of this process."""
    global _current
    _current = settings
