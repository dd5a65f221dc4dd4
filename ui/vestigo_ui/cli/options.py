"""Which part of an archive a command looks at: cameras and a stretch of time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vestigo.search.gallery import Scope

CamerasOption = Annotated[
    list[str] | None,
    typer.Option("--cameras", help="Only these cameras: names with commas between, or the option repeated."),
]
FromOption = Annotated[
    str | None, typer.Option("--from", metavar="ISO8601", help="Only from this time on; UTC unless it says otherwise.")
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="ISO8601", help="Only before this time; UTC unless it says otherwise.")
]
WhereOption = Annotated[
    str,
    typer.Option(
        "--where",
        metavar="ATTRIBUTE=VALUE,...",
        help="Only crops that the model says are so, as in gender=female,backpack=yes.",
        show_default=False,
    ),
]


def read_scope(cameras: list[str] | None, since: str | None, until: str | None, where: str = "") -> Scope:
    """Read the three options; raises UsageError for a text that is no time, or an empty stretch."""
    from vestigo.search.gallery import Scope
    from vestigo_models.errors import UsageError

    names = None if cameras is None else tuple(name.strip() for text in cameras for name in text.split(","))
    scope = Scope(cameras=names, since=_time(since, "--from"), until=_time(until, "--to"), where=where)
    if scope.since is not None and scope.until is not None and scope.since >= scope.until:
        raise UsageError(f"--from {since} is not before --to {until}")
    return scope


def _time(text: str | None, option: str) -> datetime | None:
    from vestigo_models.errors import UsageError

    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a time as in 2026-05-01T08:00:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
