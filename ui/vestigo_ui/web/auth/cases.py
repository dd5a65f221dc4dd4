"""The case that each sign-in works on: a file next to the users file, so that reloads and new tabs keep it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from vestigo_models.errors import ConfigError
from vestigo_ui.web.private_files import WatchedFile, locked, read_private, write_private

MAX_LENGTH = 200
"""Characters of a case number or an authorisation, as in the audit log."""


@dataclass(frozen=True, kw_only=True)
class SessionCase:
    """Case number and authorisation of a sign-in ("" for none); `expires` is its end in epoch seconds."""

    case: str = ""
    authority: str = ""
    expires: float = 0.0


class SessionCases:
    """The cases of all sign-ins by session id. Every method raises ConfigError if the file cannot be used."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._file: WatchedFile[Mapping[str, SessionCase]] = WatchedFile(path, _parse, {})
        self._clock = clock

    def find(self, session: str) -> SessionCase:
        """Return the case of a session."""
        return self._file.value().get(session, SessionCase())

    def put(self, session: str, case: SessionCase) -> None:
        """Set the case of a session, and forget those of sessions that have expired."""
        with locked(self._file.path):
            now = self._clock()
            cases = {name: kept for name, kept in self._file.value().items() if kept.expires > now} | {session: case}
            write_private(self._file.path, json.dumps({name: asdict(kept) for name, kept in cases.items()}))


def _parse(path: Path) -> Mapping[str, SessionCase]:
    try:
        return {name: SessionCase(**facts) for name, facts in json.loads(read_private(path)).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is damaged; remove it (users enter their case again)") from error
