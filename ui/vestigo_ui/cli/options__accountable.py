"""Who uses the command line, on what grounds, and what of a command goes into the audit log."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vestigo.search.gallery import Scope

CaseOption = Annotated[str | None, typer.Option("--case", help="Case number, for the audit log.", show_default=False)]
AuthorityOption = Annotated[
    str | None,
    typer.Option("--authority", help="Reference of the authorisation, for the audit log.", show_default=False),
]


def login() -> str:
    """Return the name of the account that this process runs under, whatever the environment says of it."""
    user = os.getuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


def asked_of(scope: Scope) -> dict[str, Any]:
    """Return which part of an archive was asked for, as details of an audit entry; no restriction, no key."""
    details = {
        "cameras": None if scope.cameras is None else list(scope.cameras),
        "from": scope.since and scope.since.isoformat(),
        "to": scope.until and scope.until.isoformat(),
        "where": scope.where or None,
    }
    return {name: value for name, value in details.items() if value is not None}
