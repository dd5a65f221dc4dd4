"""Settings of the screen: one TOML file, every key with a default, all mistakes reported together."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vestigo_models.errors import ConfigError
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.private_files import own_folder, read_private


def _address(text: str) -> str:
    """A provider compares its issuer letter by letter, so the text is checked and left as it is."""
    parts = urlsplit(text)
    own_machine = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or parts.scheme not in (("https", "http") if own_machine else ("https",)):
        raise ValueError("must be an address that begins with https:// (http:// on this machine only)")
    return text


SecureAddress = Annotated[str, AfterValidator(_address)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SessionSettings(_Table):
    """`[session]`."""

    hours: float = Field(default=12.0, gt=0, le=24 * 31, description="How long a sign-in lasts.")


class OidcSettings(_Table):
    """`[oidc]`: sign-in through an OpenID provider."""

    issuer: SecureAddress = Field(description="The provider's issuer, as its discovery document names it.")
    client_id: str = Field(min_length=1, description="The identifier that the provider gave to this app.")
    client_secret_file: Path = Field(description="A file of mode 0600 that holds the client's secret.")
    scopes: tuple[str, ...] = Field(default=("openid", "profile", "email"), description="What is asked for.")
    role_claim: str = Field(default="groups", description="The claim of the identity token that tells roles.")
    roles: dict[str, Role] = Field(default={}, description="Role by value of that claim; the highest counts.")
    default_role: Role | None = Field(default=None, description="Role of all others; without it they are refused.")

    @field_validator("scopes")
    @classmethod
    def _openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes:
            raise ValueError("must contain openid")
        return scopes

    @model_validator(mode="after")
    def _somebody_may(self) -> OidcSettings:
        if not self.roles and self.default_role is None:
            raise ValueError("name roles or a default_role, or nobody is let in")
        return self


class AuditSettings(_Table):
    """`[audit]`: what must be named before anything is searched, viewed or exported."""

    require_case: bool = Field(default=False, description="Ask for a case number.")
    require_authority: bool = Field(default=False, description="Ask for a reference of the authorisation.")


class PrivacySettings(_Table):
    """`[privacy]`."""

    blur: Literal["off", "optional", "always"] = Field(
        default="optional", description="Whether faces and heads are blurred in everything shown."
    )


class LabelStudioSettings(_Table):
    """`[label_studio]`: the server that reviews go to."""

    url: str = Field(pattern=r"^https?://[^/]", description="Its address, as browsers reach it.")
    token_file: Path = Field(description="A file of mode 0600 that holds an access token.")


class Settings(_Table):
    """The whole file."""

    session: SessionSettings = SessionSettings()
    oidc: OidcSettings | None = None
    audit: AuditSettings = AuditSettings()
    privacy: PrivacySettings = PrivacySettings()
    label_studio: LabelStudioSettings | None = None


def load(named: Path | None) -> Settings:
    """Return the settings of the named file, else of `ui.toml` among the screen's files, else the defaults.

    Paths in the file are relative to its folder.

    Raises:
        ConfigError: the named file is not there, is no TOML, or holds mistakes.
    """
    path = named or own_folder() / "ui.toml"
    try:
        keys = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if named is None:
            return Settings()
        raise ConfigError(f"{path} is not there; name the settings file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from error
    for table, key in (("oidc", "client_secret_file"), ("label_studio", "token_file")):
        if isinstance(keys.get(table), dict) and isinstance(keys[table].get(key), str):
            keys[table][key] = str(path.parent / keys[table][key])
    try:
        return Settings.model_validate(keys)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_mistake(dict(each)) for each in error.errors())) from None


def secret_of(path: Path) -> str:
    """Return the secret that a file of mode 0600 holds.

    Raises:
        ConfigError: it is not there, empty, or open to others.
    """
    try:
        secret = read_private(path).strip()
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there; it should hold the secret that the settings name") from None
    if not secret:
        raise ConfigError(f"{path} is empty; it should hold the secret that the settings name")
    return secret


def _mistake(error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: no such key"
    return f"{key}: {str(error['msg']).removeprefix('Value error, ')}"


_current = Settings()


def current() -> Settings:
    """Return the settings of this process: the defaults until the server has started with others."""
    return _current


def use(settings: Settings) -> None:
    """Make `settings` those of this process."""
    global _current
    _current = settings
