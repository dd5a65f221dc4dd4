"""Files with pictures of people: written atomically, readable by their owner only."""

import atexit
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PARTIAL = ".partial"


@contextmanager
def create_private(path: Path, mode: str = "wb", newline: str | None = None) -> Iterator[IO[Any]]:
    """Open a file of mode 0600 for writing; it replaces `path` when the block ends without an error.

    The folder is created if there is none. A device or pipe is written directly. `mode` is `wb`, or `w` for text in
    UTF-8.
    """
    encoding = None if "b" in mode else "utf-8"
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with path.open(mode, encoding=encoding, newline=newline) as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=PARTIAL, dir=path.parent)
    try:
        with os.fdopen(handle, mode, encoding=encoding, newline=newline) as file:
            yield file
        os.replace(partial, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)


def make_temporary_folder(prefix: str) -> Path:
    """Create a folder of mode 0700 that is removed when this process ends, even if it is killed.

    A shell waits for the end of a pipe that this process holds, and removes the folder then.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    remover = subprocess.Popen(
        ["sh", "-c", 'cat; rm -rf -- "$0"', str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        # Ctrl-C in a terminal ends all processes of a session.
        start_new_session=True,
    )
    atexit.register(remover.communicate)
    return folder
