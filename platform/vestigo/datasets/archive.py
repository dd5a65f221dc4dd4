"""Open the folder of a dataset; an archive is unpacked into a private folder that is removed when the process ends."""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple

from vestigo.datasets.files import GALLERY, QUERY, TRAIN, holds_split
from vestigo.ingest.sources.containers import check_name, has_end_mark
from vestigo.ingest.sources.naming import is_archive
from vestigo_models.errors import BadInput, DatasetError, first_line
from vestigo_models.inference.images import is_leftover
from vestigo_models.isolation import stream
from vestigo_models.private_files import make_temporary_folder

NOT_PLAIN = "links and devices in the archive"
"""Members that are passed over."""
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What the standard library raises for archives that are damaged, encrypted or packed by another method."""


@dataclass(frozen=True, kw_only=True)
class DatasetFolder:
    """Where the files of a dataset are.

    Attributes:
        root: Folder that holds the splits.
        source: What the user named, a folder or an archive.
        label_folders: Folders that may hold the annotation, in the order in which they are searched.
        passed_over: Number of members of the archive that were not unpacked, by kind.
        notes: What a user should know about it.
    """

    root: Path
    source: Path
    label_folders: tuple[Path, ...]
    passed_over: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def label_file(self, name: str) -> Path | None:
        """Return the annotation file of a name, None if there is none."""
        return next((folder / name for folder in self.label_folders if (folder / name).is_file()), None)


def open_folder(source: Path) -> DatasetFolder:
    """Return the folder of a dataset, unpacked if it is a tar, compressed or not, or a zip.

    An archive is unpacked once in a process. Annotation may also be in the folder of the archive.

    Raises:
        DatasetError: If there is neither, the archive cannot be read or leads outside, or it holds no split or several.
    """
    if source.is_dir():
        return DatasetFolder(root=source, source=source, label_folders=(source,))
    if not source.is_file():
        raise DatasetError(f"{source}: no such folder or archive")
    if not is_archive(source.name):
        raise DatasetError(f"{source} is neither a folder nor a .tar or .zip; give one that holds {TRAIN}")
    facts = source.stat()
    folder, passed_over = _unpack(source.resolve(), facts.st_size, facts.st_mtime_ns)
    root = _find_root(folder, source)
    return DatasetFolder(
        root=root,
        source=source,
        label_folders=tuple(dict.fromkeys((root, folder, source.resolve().parent))),
        passed_over=passed_over,
        notes=(f"{source.name} is unpacked into {folder} until the command ends",),
    )


@cache
def _unpack(path: Path, _size: int, _modified: int) -> tuple[Path, dict[str, int]]:
    """Unpack an archive; return its folder, and the number of members passed over by kind."""
    folder = make_temporary_folder("vestigo-dataset-")
    try:
        kinds = Counter(stream(_write_members, path, folder, name=path.name))
    except BadInput as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DatasetError(error.detail) from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    del kinds[""]
    return folder, dict(kinds)


class _Member(NamedTuple):
    name: str
    size: int
    file: IO[bytes] | None  # None for a link or device


def _write_members(path: Path, folder: Path) -> Iterator[str]:
    """Write the files of an archive, of mode 0600; yield "" for each, and the kind of each member passed over."""
    free = shutil.disk_usage(folder).free
    try:
        for name, size, file in _read_zip(path) if path.suffix.lower() == ".zip" else _read_tar(path):
            check_name(name)
            if file is None:
                yield NOT_PLAIN
                continue
            free -= size
            if free < 0:
                raise DatasetError(f"{path.name} does not fit into {folder.parent}; set TMPDIR to a larger place")
            target = folder / name.replace("\\", "/")
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with file, os.fdopen(descriptor, "wb") as copy:
                shutil.copyfileobj(file, copy)
            yield ""
    except FileExistsError as error:
        name = Path(error.filename).relative_to(folder).as_posix()
        raise DatasetError(f"{path.name} has {name} more than once; pack it again") from None
    except _BROKEN as error:
        raise DatasetError(f"{path.name} cannot be unpacked ({first_line(error)}); get it again") from None
    except OSError as error:
        raise DatasetError(f"{path.name} cannot be unpacked ({error.strerror or error}); see {folder.parent}") from None


def _read_tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path) as archive:
        while (member := archive.next()) is not None:
            # tarfile keeps every header.
            archive.members = []  # type: ignore[attr-defined]
            if not member.isdir():
                is_plain = member.isreg() and member.sparse is None
                yield _Member(member.name, member.size, archive.extractfile(member) if is_plain else None)
    if path.suffix.lower() == ".tar" and not has_end_mark(path):
        raise tarfile.ReadError("it breaks off: the end mark is missing")


def _read_zip(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                is_plain = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)
                yield _Member(entry.filename, entry.file_size, archive.open(entry) if is_plain else None)


def _find_root(folder: Path, source: Path) -> Path:
    """Return the highest folder that holds a split."""
    folders = [Path(path) for path, _, _ in os.walk(folder)]
    roots = [path for path in folders if holds_split(path) and not is_leftover(path.relative_to(folder).as_posix())]
    depth = min((len(path.parts) for path in roots), default=0)
    highest = sorted(path.relative_to(folder).as_posix() for path in roots if len(path.parts) == depth)
    if not highest:
        raise DatasetError(f"{source} holds no dataset: none of {TRAIN}, {QUERY} and {GALLERY} is in it")
    if len(highest) > 1:
        raise DatasetError(f"{source} holds several datasets, {' and '.join(highest)}; give an archive of one")
    return folder / highest[0]
