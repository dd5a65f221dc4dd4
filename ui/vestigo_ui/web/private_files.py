"""The private configuration files of the app: mode 0600, written atomically."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from vestigo_models.errors import ConfigError
from vestigo_models.private_files import create_private
from vestigo_models.text_files import read_text

Content = TypeVar("Content")


class WatchedFile(Generic[Content]):
    """The parsed content of a file, which is read again when the file has changed."""

    def __init__(self, path: Path, parse: Callable[[Path], Content], default: Content) -> None:
        self.path = path
        self._parse = parse
        self._default = default
        self._cached: tuple[tuple[int, ...], Content] | None = None

    def value(self) -> Content:
        """Return the content, or the default if there is no file; raise ConfigError if it cannot be read."""
        try:
            status = self.path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
            if self._cached is None or self._cached[0] != version:
                self._cached = (version, self._parse(self.path))
            return self._cached[1]
        except FileNotFoundError:
            self._cached = None
            return self._default
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from error


def config_folder() -> Path:
    """Return the folder of the configuration files, by the XDG convention."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "vestigo"


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 atomically; raise ConfigError if it cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with create_private(path, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def read_private(path: Path) -> str:
    """Return the text of a private file; raise ConfigError if others may access it or it is unreadable."""
    try:
        mode = path.stat().st_mode
        text = read_text(path)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    if mode & 0o077:
        raise ConfigError(f"{path} is accessible to other users (mode {mode & 0o777:04o}); run: chmod 600 {path}")
    return text


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock `path` against changes by other processes; readers do not wait. Raises ConfigError if it cannot."""
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
