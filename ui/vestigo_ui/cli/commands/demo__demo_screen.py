"""The demo's last step: somebody may sign in, and the screen can be opened on what was made."""

from __future__ import annotations

import secrets
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from vestigo_ui.cli.output import note, out

USERS = "users.toml"
NAME = "demo"


@dataclass(frozen=True)
class Invitation:
    """Who may sign in to the demo's screen; the password is told once and kept only as its hash."""

    folder: Path
    password: str

    @property
    def command(self) -> str:
        """What opens the screen."""
        return " ".join(["vestigo ui", *map(shlex.quote, self.arguments)])

    @property
    def arguments(self) -> list[str]:
        """The arguments of that command."""
        return ["--store", str(self.folder / "store"), "--users", str(self.folder / USERS)]


def invite(folder: Path) -> Invitation:
    """Let somebody sign in to the screen of the demo in `folder`, with a password of this very demo."""
    from vestigo_ui.web.auth.users import Role, Users

    invitation = Invitation(folder, secrets.token_urlsafe(12))
    Users(folder / USERS).add(NAME, Role.ADMIN, invitation.password)
    return invitation


def offer(invitation: Invitation) -> None:
    """Say how the screen is opened, and open it at once where somebody at a terminal says so."""
    from vestigo_ui.cli.main import run

    out.print(f"look at it: [bold]{invitation.command}[/bold]", soft_wrap=True)
    out.print(f"  sign in as [bold]{NAME}[/bold] with the password [bold]{invitation.password}[/bold]")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if typer.confirm("Open the screen now?", default=True):
        note("Ctrl-C ends it")
        run(["ui", *invitation.arguments])
