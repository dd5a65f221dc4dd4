"""Discover the inputs of a source, in a fixed order."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path, PurePosixPath
from typing import Literal

from vestigo.datasets.files import is_dataset, list_files, parse_name
from vestigo.ingest.decoding import FRAME_SECONDS, probe_in_child
from vestigo.ingest.inputs import IgnoredFile, ImageInput, Input, InvalidInput, Locator, VideoInput
from vestigo.ingest.sources.containers import file_digest, list_tar, list_zip, printable, with_label
from vestigo.ingest.sources.naming import COMPRESSED_TARS, NamingRules, file_kind, is_archive, is_image, is_video
from vestigo.ingest.video.probe import open_video, video_stream
from vestigo_models.errors import BadInput, SourceError
from vestigo_models.inference.image_formats import find_format
from vestigo_models.inference.images import is_leftover
from vestigo_models.isolation import call, stream

SourceKind = Literal["video", "image", "folder", "tar", "zip", "dataset"]
SYSTEM = "system file"
HEAD_BYTES = 1 << 16
NAMING_PARTS = 6  # parts of a single file's path that can name its camera and time; recorders nest so many folders
MAX_DEPTH = 100
"""Folders inside each other that are listed; recorders nest six."""
MAX_OVERLAP = 0.5
"""Share of a video that can show the same time as the one before; recorders repeat some seconds at a cut."""
_PACKED = (b"PK\3\4", b"7z\xbc\xaf", b"Rar!", b"%PDF", b"\xd0\xcf\x11\xe0", b"SQLite format 3")
"""First bytes of archives, documents and databases. FFmpeg takes JPEGs inside them for a video."""
_TAR_MARK = slice(257, 262)
_EXAMPLES = "name a video, an image, a folder, a .tar or a .zip"


def source_kind(source: str | Path) -> SourceKind:
    """Return the kind of a source; raise SourceError if it does not exist or its kind is unknown."""
    path = Path(source)
    name = path.name.lower()
    if not path.exists():
        raise SourceError(f"no such source: {source}; {_EXAMPLES}")
    if path.is_dir():
        return "dataset" if is_dataset(path) else "folder"
    if not path.is_file():
        raise SourceError(f"{source} is neither a file nor a folder; {_EXAMPLES}")
    if name.endswith(COMPRESSED_TARS):
        raise SourceError(f"{source}: members of a compressed tar cannot be read in place; decompress it to a .tar")
    if name.endswith(".tar"):
        return "tar"
    if name.endswith(".zip"):
        return "zip"
    if is_video(name):
        return "video"
    if is_image(name):
        return "image"
    try:
        if content := call(content_kind, path, name=name):
            return content
    except BadInput as error:
        raise SourceError(f"{source}: {error.detail}") from None
    raise SourceError(f"{source}: unknown ending {path.suffix!r}; {_EXAMPLES}")


def discover(
    source: str | Path,
    *,
    camera: str | None = None,
    name_pattern: str | None = None,
    start: datetime | None = None,
    zone: tzinfo = UTC,
) -> Iterator[Input]:
    """Yield every input of a source, sorted by name (members of a tar in their own order).

    Each input is read once for the digest of its content. An unusable file is an `InvalidInput`, a file of another kind
    an `IgnoredFile`. Memory is the names of one folder or one archive, and those of videos whose camera is their name.

    Camera and time come from the names of files and folders (see `naming`). `camera` is for inputs without
    `camera=NAME/` in the path and without a match of `name_pattern`; the last resort is the name of the video, archive
    or source folder. `start` is when each camera's first video begins, `zone` that of times without an offset.

    Raises:
        SourceError: As `source_kind`, or videos of one camera would all begin at `start`, or different folders hold
            videos of one name and nothing names their cameras.
        ConfigError: If `name_pattern` is invalid.
    """
    kind = source_kind(source)
    naming = NamingRules.create(camera, name_pattern, start, zone)
    root = Path(source).resolve()
    return _discover(root, kind, plan_cameras(root, naming) if kind == "folder" else naming)


def plan_cameras(root: Path, naming: NamingRules) -> NamingRules:
    """Check the videos of a folder as `discover`; return the rules with the first times."""
    counts: Counter[str] = Counter()
    timeless: set[str] = set()
    folders: dict[str, str] = {}
    firsts: dict[str, datetime] = {}
    for path in _video_names(root):
        name = PurePosixPath(path)
        origin = naming.origin(path, "")
        camera = origin.camera or name.stem
        if not origin.camera and folders.setdefault(name.stem, str(name.parent)) != str(name.parent):
            raise SourceError(
                f"{name.name} is in {folders[name.stem]} and in {name.parent}, and nothing tells which camera each is "
                "of: name the folders camera=NAME, or give --camera or --name-pattern"
            )
        counts[camera] += 1
        if origin.start is None:
            timeless.add(camera)
        else:
            firsts[camera] = min(origin.start, firsts.get(camera, origin.start))
    if naming.start is None:
        return naming
    for camera in sorted(timeless):
        if counts[camera] > 1:
            raise SourceError(
                f"{counts[camera]} videos of camera {camera} would all begin at {naming.start.isoformat()}: put their "
                "times into their names (see --name-pattern), or index them one by one with --start"
            )
    return replace(naming, firsts=firsts)


def _video_names(root: Path) -> Iterator[str]:
    """Yield the paths of a folder's videos inside it, without reading them."""
    for folder, folders, files in os.walk(root):
        folders[:] = [] if _is_too_deep(Path(folder), root) else sorted(folders)
        for name in sorted(files):
            path = _relative_name(Path(folder, name), root)
            if is_video(name) and not is_leftover(path):
                yield path


def _discover(root: Path, kind: SourceKind, naming: NamingRules) -> Iterator[Input]:
    is_empty = True
    for item in _without_overlaps(_list_inputs(root, kind, naming)):
        is_empty &= isinstance(item, IgnoredFile) or (isinstance(item, InvalidInput) and item.reason == "empty-folder")
        yield item
    if is_empty:
        message = f"{root.name} holds no image and no video; name a source that does"
        yield InvalidInput(root.name, "empty-source", message)


def _without_overlaps(items: Iterator[Input]) -> Iterator[Input]:
    """Replace videos that show the same time of the same camera as the one before, such as a second stream of it."""
    latest: dict[str, tuple[datetime, datetime, str]] = {}
    for item in items:
        if isinstance(item, VideoInput) and item.start is not None:
            begin = datetime.fromisoformat(item.start)
            end = begin + timedelta(seconds=item.info.duration_s)
            other_begin, other_end, other = latest.get(item.camera, (end, end, ""))
            common = min(end, other_end) - max(begin, other_begin)
            if common > MAX_OVERLAP * min(end - begin, other_end - other_begin):
                detail = (
                    f"{item.name} and {other} would both show camera {item.camera} at {begin.isoformat()}: "
                    "give one of them another --camera, or its time with --start"
                )
                yield InvalidInput(item.name, "overlapping-videos", detail)
                continue
            latest[item.camera] = (begin, end, item.name)
        yield item


def _list_inputs(root: Path, kind: SourceKind, naming: NamingRules) -> Iterator[Input]:
    if kind == "folder":
        return _list_folder(root, root, naming)
    if kind in ("tar", "zip"):
        return _list_archive(list_tar if kind == "tar" else list_zip, root, naming)
    if kind == "dataset":
        return _list_dataset(root, naming)
    return iter([_inspect_file(root, root.name, root.stem, naming, path_name="/".join(root.parts[-NAMING_PARTS:]))])


def _list_archive(
    list_members: Callable[[Path, NamingRules], Iterator[Input]], root: Path, naming: NamingRules
) -> Iterator[Input]:
    try:
        yield from stream(list_members, root, naming, name=root.name, seconds=FRAME_SECONDS)
    except BadInput as error:
        yield InvalidInput(root.name, error.reason, error.detail)


def _list_folder(folder: Path, root: Path, naming: NamingRules) -> Iterator[Input]:
    """Yield the files under `folder`, named relative to `root`, depth first and sorted.

    A link to a place inside the root is ignored, because its target is listed anyway. A link that leads outside is
    never opened; it is an `InvalidInput`, and so are a broken link, an empty folder below the root (a camera without
    recordings) and an archive.
    """
    name = _relative_name(folder, root)
    if _is_too_deep(folder, root):
        detail = f"folders are more than {MAX_DEPTH} inside each other here; name this one as a source of its own"
        yield InvalidInput(name, "too-deep", detail)
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        detail = f"{folder.name}: {error.strerror or error}"
        yield IgnoredFile(name, SYSTEM) if is_leftover(name) else InvalidInput(name, "unreadable", detail)
        return
    if not entries and folder != root and not is_leftover(name):
        yield InvalidInput(name, "empty-folder", f"{name} holds no file")
    for entry in entries:
        path = Path(entry.path)
        name = _relative_name(path, root)
        if printable(entry.path) != entry.path:
            yield InvalidInput(name, "undecodable-name", f"{name}: the name is not UTF-8; rename the file")
        elif entry.is_symlink():
            # `Path.resolve` raises on a link to itself.
            if not Path(os.path.realpath(path)).is_relative_to(root):
                yield InvalidInput(name, "outside-source", f"{name} is a link that leads outside")
            elif not path.exists():
                yield InvalidInput(name, "broken-link", f"{name} is a link to {printable(os.readlink(path))}: no file")
            else:
                yield IgnoredFile(name, "link")
        elif entry.is_dir(follow_symlinks=False):
            yield from _list_folder(path, root, naming)
        else:
            yield _inspect_file(path, name, path.stem if is_video(name) else root.name, naming)


def _is_too_deep(folder: Path, root: Path) -> bool:
    return len(folder.parts) - len(root.parts) > MAX_DEPTH


def _inspect_file(
    path: Path, name: str, fallback_camera: str, naming: NamingRules, *, path_name: str | None = None
) -> Input:
    """Classify a file and read it once for its digest.

    Camera and time come from `path_name` instead of `name`, if it is given.
    """
    if is_leftover(name):
        return IgnoredFile(name, SYSTEM)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return InvalidInput(name, "not-a-file", f"{name} is a pipe, socket or device; only plain files are read")
        if is_archive(name):
            return InvalidInput(name, "archive-in-folder", f"{name} is an archive; name it as a source of its own")
        kind = "image" if is_image(name) else "video" if is_video(name) else call(content_kind, path, name=name)
        camera, start = naming.place(
            path_name or name, fallback_camera, folders=path_name is None, is_video=kind == "video"
        )
        if kind == "image":
            image = ImageInput(name, file_digest(path), Locator("file", str(path)), camera, start)
            return with_label(image, path.as_posix(), fallback_camera)
        if kind == "video":
            info = probe_in_child(path, name)
            return VideoInput(name, info.digest, str(path), camera, start, info)
    except BadInput as error:
        return InvalidInput(name, error.reason, error.detail)
    except OSError as error:
        return InvalidInput(name, "unreadable", f"{name}: {error.strerror or error}")
    return IgnoredFile(name, file_kind(name))


def content_kind(path: Path) -> Literal["image", "video"] | None:
    """Return what a file of unknown ending holds, None if it is neither; nothing is decoded."""
    with path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
    if find_format(head) is not None:
        return "image"
    if head.startswith(_PACKED) or head[_TAR_MARK] == b"ustar":
        return None
    with suppress(BadInput), open_video(path) as container:
        video_stream(container)
        return "video"
    return None


def _list_dataset(root: Path, naming: NamingRules) -> Iterator[Input]:
    """Yield the images of the splits; `0002_c1s1_000451_03.jpg` is identity 2 of camera c1, and -1 is junk."""
    files = list_files(root)
    labels = files.labels(root)
    folders = sorted({split.folder for split in files.splits.values()})
    for entry in sorted(root.iterdir()):
        if entry not in folders:
            yield IgnoredFile(_relative_name(entry, root), SYSTEM if is_leftover(entry.name) else "outside the splits")
    for folder in folders:
        for item in _list_folder(folder, root, naming):
            # An image in no list has a camera, and no identity that lists count.
            label = labels.get(item.name) or parse_name(PurePosixPath(item.name).name)
            if isinstance(item, ImageInput) and label is not None:
                pid = label.pid if label.pid >= 0 and item.name in labels else None
                yield replace(item, camera=f"c{label.camera}", pid=pid)
            else:
                yield item


def _relative_name(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix())
