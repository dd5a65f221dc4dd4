"""Options and the connection that all commands with Label Studio share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vestigo.review.label_studio.client import Studio

ProjectOption = Annotated[
    str, typer.Option("--project", "-p", help="Project of review, in the store and on the server.")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="LABEL_STUDIO_URL", help="Label Studio server, as in http://127.0.0.1:8080.", show_default=False
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File with the server's token, for its owner only. Default: LABEL_STUDIO_API_KEY.",
        show_default=False,
    ),
]
PatienceOption = Annotated[
    float, typer.Option("--patience", min=0, help="Seconds for which a server that does not answer is waited for.")
]


def connect(url: str | None, token_file: Path | None, patience: float) -> Studio:
    """Open the connection; the token comes from a file or the environment and nowhere else."""
    from vestigo.review.label_studio.client import Studio, read_token

    return Studio.connect(url, read_token(token_file), patience=patience)
