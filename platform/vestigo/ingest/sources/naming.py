"""Kind, camera and time of inputs, from their names and the user's options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath

from vestigo_models.errors import ConfigError
from vestigo_models.inference.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
)
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


@dataclass(frozen=True)
class NamingRules:
    """The user's options for camera and time."""

    default: str | None
    pattern: re.Pattern[str] | None
    start: str | None

    @classmethod
    def create(cls, camera: str | None, pattern: str | None, start: datetime | None) -> NamingRules:
        """Check the options (ConfigError for an invalid pattern); a start without a zone is UTC."""
        try:
            compiled = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ConfigError(f"camera pattern {pattern!r} is no regular expression: {error}") from None
        if compiled is not None and "camera" not in compiled.groupindex:
            raise ConfigError(f"camera pattern {pattern!r} needs a group named camera, such as (?P<camera>c\\d+)")
        if start is not None and start.tzinfo is None:
            start = start.replace(tzinfo=UTC)
        return cls(camera, compiled, start.isoformat() if start else None)

    def camera(self, name: str, fallback: str) -> str:
        """Return `camera=NAME/` in the path, else the match of the pattern, else the default, else `fallback`."""
        if folder := _CAMERA_FOLDER.search(name):
            return folder["camera"]
        if self.pattern is not None and (match := self.pattern.search(name)) and match["camera"]:
            return match["camera"]
        return self.default or fallback
