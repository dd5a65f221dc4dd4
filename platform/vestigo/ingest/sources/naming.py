"""Kind, camera and time of inputs, from their names and the user's options.

A row of `RECORDERS` is a pattern of paths inside a source, with forward slashes. Its groups are `camera`; `date` (8
digits, or with separators) or `year`, `month` and `day`; `time` (6 digits, or with separators) or `hour`, `minute` and
`second`, and an `offset` from UTC; or `epoch`, seconds since 1970. The first row that matches counts. `--name-pattern`
adds a row before them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import PurePath

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
DATE = r"(?P<date>(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01]))"
TIME = r"(?P<time>(?:[01]\d|2[0-3])[-_.:h]?[0-5]\d(?:[-_.:m]|min)?[0-5]\d)"
_OFFSET = r"(?:s?[.,_-]?\d{1,6}(?:ms)?)?s?(?P<offset>Z|\+(?:0\d|1[0-4]):?[0-5]\d|-(?:0\d|1[0-2]):[0-5]\d)?"
_CAMERA = r"(?P<camera>[^/]+?)"
_FOLDER_DATE = r"(?P<year>\d{4})-(?P<month>\d\d)[-/](?P<day>\d\d)"
_NO_CAMERA = re.compile(
    r"\d+|\d{8}[-_]\d\d|\d{4}[-_.]?\d\d([-_.]?\d\d)?|VID|IMG|MVIMG|MOV|PXL|DSC|video|dav|jpg|mp4|record(ing)?s?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Recorder:
    """How a kind of recorder names files; `in_utc` if its names are UTC instead of local time."""

    name: str
    pattern: str
    in_utc: bool = False


RECORDERS: Sequence[Recorder] = (
    Recorder(
        "Frigate recordings",
        rf"(?:^|/){_FOLDER_DATE}/(?P<hour>\d\d)/{_CAMERA}/(?P<minute>\d\d)\.(?P<second>\d\d)\.\w+$",
        in_utc=True,
    ),
    Recorder("Frigate clips", rf"(?:^|/){_CAMERA}-(?P<epoch>\d{{10}}(?:\.\d+)?)-\w+(?:-clean)?\.\w+$", in_utc=True),
    Recorder(
        "Dahua and Xiongmai, their own folders",
        rf"(?:^|/){_FOLDER_DATE}/{_CAMERA}/(?:(?:dav|jpg|mp4)/)?(?:\d\d/)?{TIME}-\d\d\.\d\d\.\d\d[^/]*$",
    ),
    Recorder(
        "Dahua, pictures in folders of minutes",
        rf"(?:^|/){_FOLDER_DATE}/{_CAMERA}/(?:dav/|jpg/|mp4/)?"
        r"(?P<hour>\d\d)/(?P<minute>\d\d)/(?P<second>\d\d)\[[^/]*$",
    ),
    Recorder("motionEye", rf"(?:^|/){_CAMERA}/{_FOLDER_DATE}/{TIME}\.\w+$"),
    Recorder("Reolink, memory card", rf"(?:^|/)(?P<camera>Rec[MS]\d\d)_(?:DST)?{DATE}_{TIME}_[^/]*$"),
    Recorder(
        "Axis, folders of recordings",
        rf"(?:^|/)\d{{8}}_\d{{6}}_[0-9A-F]{{4}}_(?P<camera>[0-9A-F]{{12}})/(?:[^/]+/)*{DATE}_{TIME}_[^/]*$",
    ),
    Recorder("Axis, memory card and share", rf"(?:^|/){DATE}_{TIME}_[0-9A-F]{{4}}_(?P<camera>[0-9A-F]{{12}})[^/]*$"),
    Recorder(
        "Hikvision, Dahua, Reolink and Uniview exports",
        rf"(?:^|/){_CAMERA}[-_]S?{DATE}{TIME}\d{{0,3}}(?:[-_]E?\d{{14}})?(?:[-_.( ][^/]*)?$",
    ),
    Recorder("Pixel phones", rf"(?:^|/)PXL_{DATE}_{TIME}\d{{0,3}}[^/]*$", in_utc=True),
    Recorder(
        "phones and cameras", rf"(?:^|/)(?:VID|IMG|MVIMG|MOV|video)?[-_ ]?{DATE}[-_ T]?{TIME}{_OFFSET}(?!\d)[^/]*$"
    ),
    Recorder(
        "Milestone, Genetec and others: camera, date, time",
        rf"(?:^|/){_CAMERA}[-_. ]+{DATE}(?:[-_ T]{{1,3}}| at ){TIME}{_OFFSET}(?!\d)[^/]*$",
    ),
    Recorder("Synology", rf"(?:^|/){_CAMERA}{DATE}-{TIME}-\d{{10}}\.\w+$"),
)


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
class NamedOrigin:
    """What a path says of its file; None where it says nothing. `start` without a zone is local time."""

    camera: str | None = None
    start: datetime | None = None


def read_name(path: str, recorders: Sequence[Recorder] = RECORDERS, *, folders: bool = True) -> NamedOrigin:
    """Return camera and start of the first row that matches a path inside a source (forward slashes).

    Where a name has a time and no camera, the nearest folder whose name is no date or number is the camera, if
    `folders` can be.
    """
    for recorder in recorders:
        if match := re.search(recorder.pattern, path):
            groups = {name: value for name, value in match.groupdict().items() if value}
            start = _start(groups)
            if start is None and "camera" not in groups:
                continue
            if start is not None and start.tzinfo is None and recorder.in_utc:
                start = start.replace(tzinfo=UTC)
            camera = groups.get("camera") or (_folder_camera(path) if folders else None)
            return NamedOrigin(camera.strip(" -_") if camera else None, start)
    return NamedOrigin()


def _start(groups: dict[str, str]) -> datetime | None:
    try:
        if "epoch" in groups:
            return datetime.fromtimestamp(float(groups["epoch"]), UTC)
        date = re.sub(r"\D", "", groups.get("date", ""))
        time = re.sub(r"\D", "", groups.get("time", ""))
        year, month, day = (groups.get(name, "") for name in ("year", "month", "day"))
        hour, minute, second = (groups.get(name, "") for name in ("hour", "minute", "second"))
        start = datetime.strptime((date or year + month + day) + (time or hour + minute + second), "%Y%m%d%H%M%S")
        return datetime.fromisoformat(start.isoformat() + groups.get("offset", ""))
    except (ValueError, OverflowError, OSError):
        return None


def _folder_camera(path: str) -> str | None:
    return next((folder for folder in path.split("/")[-2::-1] if not _NO_CAMERA.fullmatch(folder)), None)


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
        if start is not None and start.tzinfo is None:
            # Of a time that clocks show twice, the first.
            start = start.replace(tzinfo=self.zone).astimezone(UTC)
        return NamedOrigin(normal_form(camera), start)

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
