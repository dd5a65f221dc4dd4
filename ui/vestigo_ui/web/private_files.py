"""Where the screen keeps its own files, and how it writes them: whole, and for nobody else to read."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from vestigo_models.errors import ConfigError

Content = TypeVar("Content")


class Watched(Generic[Content]):
    """What a file says now: it is read again when its identity has changed.

    Raises (`value`):
        ConfigError: the file cannot be read, or `parse` refuses it.
    """

    def __init__(self, path: Path, parse: Callable[[Path], Content], absent: Content) -> None:
        self.path = path
        self._parse = parse
        self._absent = absent
        self._seen: tuple[tuple[int, ...], Content] | None = None

    def value(self) -> Content:
        """Return what the file says, or `absent` where there is none."""
        try:
            status = self.path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
            if self._seen is None or self._seen[0] != seen:
                self._seen = (seen, self._parse(self.path))
            return self._seen[1]
        except FileNotFoundError:
            self._seen = None
            return self._absent
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from error


def own_folder() -> Path:
    """Return the folder of the screen's files, by the XDG convention."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "vestigo"


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Write a file of mode 0600 so that a reader sees all of the old text or all of the new.

    Raises:
        FileExistsError: it exists, and is not to be replaced.
        ConfigError: the file system refuses.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(partial, path)
            else:
                os.link(partial, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(partial)
    except FileExistsError:
        raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def read_private(path: Path) -> str:
    """Read a file that nobody else may read.

    Raises:
        FileNotFoundError: there is none.
        ConfigError: others may read or write it, or it is no text that can be read.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if mode & 0o077:
        raise ConfigError(f"{path} is open to others (mode {mode & 0o777:04o}); close it: chmod 600 {path}")
    return text


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing `path` meanwhile; readers are not kept waiting.

    Raises:
        ConfigError: the file system refuses.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"{path} cannot be changed: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
