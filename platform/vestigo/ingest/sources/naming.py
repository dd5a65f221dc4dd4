"""Kind, camera and time of inputs, from their names and the user's options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import PurePath

from vestigo.ingest.sources.recorders import RECORDERS, NamedOrigin, Recorder, localize, read_name
from vestigo_models.errors import ConfigError
from vestigo_models.inference.images import IMAGE_SUFFIXES
from vestigo_models.names import normal_form

_VIDEO_ENDINGS = """
mp4 m4v mov mkv webm avi ts m2ts mts mpg mpeg mpe wmv asf flv f4v 3gp 3g2 dav divx ogv vob mxf m2v
h264 264 h265 265 hevc mjpeg mjpg
"""
VIDEO_SUFFIXES = frozenset(f".{ending}" for ending in _VIDEO_ENDINGS.split())
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_CAMERA_FOLDER = re.compile(r"(?:^|/)camera=(?P<camera>[^/]+)/")


def is_image(name: str) -> bool:
    """Whether a file has the suffix of an image."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def is_video(name: str) -> bool:
    """Whether a file has the suffix of a video."""
    return PurePath(name).suffix.lower() in VIDEO_SUFFIXES


def is_archive(name: str) -> bool:
    """Whether a file has the suffix of a tar or zip, compressed or not."""
    return name.lower().endswith((".tar", ".zip", *COMPRESSED_TARS))


def file_kind(name: str) -> str:
    """Return the kind under which a file that is not read is counted: its ending in lower case, or `no ending`."""
    return PurePath(name).suffix.lower() or "no ending"


@dataclass(frozen=True)
class NamingRules:
    """How camera and time follow from the user's options and the name of a file."""

    camera: str | None = None  # of files without `camera=NAME/` in the path and without a match of the user's pattern
    pattern: Recorder | None = None  # the user's own row of names, before those of `RECORDERS`
    start: datetime | None = None  # when the footage of each camera begins, or None
    zone: tzinfo = UTC  # zone of times without an offset
    firsts: Mapping[str, datetime] = field(default_factory=dict)  # first time in the names of each camera, with `start`

    @classmethod
    def create(cls, camera: str | None, pattern: str | None, start: datetime | None, zone: tzinfo = UTC) -> NamingRules:
        """Check the options; raise ConfigError if the pattern is invalid. A start without a zone is one of `zone`."""
        try:
            compiled = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ConfigError(f"name pattern {pattern!r} is no regular expression: {error}") from None
        if compiled is not None and not compiled.groupindex.keys() & {"camera", "date", "year", "epoch"}:
            raise ConfigError(f"name pattern {pattern!r} needs a group named camera, such as (?P<camera>c\\d+)")
        if start is not None and start.tzinfo is None:
            start = start.replace(tzinfo=zone)
        return cls(camera, Recorder("--name-pattern", pattern) if pattern else None, start, zone)

    def origin(self, path: str, fallback: str, *, folders: bool = True) -> NamedOrigin:
        """Return the camera and the time in the name of a file; its start does not depend on the option `start`.

        `path` is inside the source, with forward slashes; `fallback` is the camera of a file of which nothing else
        names one. With `folders`, a folder can name the camera of a file with a time in its name.
        """
        own = read_name(path, [self.pattern], folders=False) if self.pattern else NamedOrigin()
        named = read_name(path, RECORDERS, folders=folders)
        start = own.start or named.start
        folder = _CAMERA_FOLDER.search(path)
        camera = folder["camera"] if folder else own.camera or self.camera or named.camera or fallback
        return NamedOrigin(normal_form(camera), None if start is None else localize(start, self.zone))

    def place(
        self, path: str, fallback: str, *, folders: bool = True, is_video: bool = False
    ) -> tuple[str, str | None]:
        """Return the camera of a file, and when it begins (ISO 8601) or None; arguments as `origin`.

        With the option `start`, the first video of each camera begins there, and the times in names place the others.
        """
        origin = self.origin(path, fallback, folders=folders)
        camera, start = origin.camera or fallback, origin.start
        if is_video and self.start is not None:
            later = start - self.firsts.get(camera, start) if start is not None else timedelta()
            start = self.start + later
        return camera, start.isoformat() if start else None
