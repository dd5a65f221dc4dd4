"""Camera and time from the names that recorders give to files and folders.

A row of `RECORDERS` is a pattern of paths inside a source, with forward slashes. Its groups are `camera`; `date` (8
digits, or with separators) or `year`, `month` and `day`; `time` (6 digits, or with separators) or `hour`, `minute` and
`second`; or `epoch`, seconds since 1970. The first row that matches counts. `--name-pattern` adds a row before them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

DATE = r"(?P<date>(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01]))"
TIME = r"(?P<time>(?:[01]\d|2[0-3])[-_.:h]?[0-5]\d[-_.:m]?[0-5]\d)"
_CAMERA = r"(?P<camera>[^/]+?)"
_FOLDER_DATE = r"(?P<year>\d{4})-(?P<month>\d\d)[-/](?P<day>\d\d)"
_NO_CAMERA = re.compile(
    r"\d+|\d{4}[-_.]?\d\d([-_.]?\d\d)?|VID|IMG|MVIMG|MOV|PXL|DSC|video|dav|jpg|mp4|record(ing)?s?", re.IGNORECASE
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
    Recorder("Frigate clips", rf"(?:^|/){_CAMERA}-(?P<epoch>\d{{10}}(?:\.\d+)?)-\w+\.\w+$", in_utc=True),
    Recorder(
        "Dahua, its own folders",
        rf"(?:^|/){_FOLDER_DATE}/{_CAMERA}/(?:dav|jpg|mp4)/(?:\d\d/)?{TIME}-\d\d\.\d\d\.\d\d[^/]*$",
    ),
    Recorder("Reolink, memory card", rf"(?:^|/)(?P<camera>Rec[MS]\d\d)_(?:DST)?{DATE}_{TIME}_[^/]*$"),
    Recorder("Axis, memory card and share", rf"(?:^|/){DATE}_{TIME}_[0-9A-F]{{4}}_(?P<camera>[0-9A-F]{{12}})[^/]*$"),
    Recorder(
        "Hikvision, Dahua and Reolink exports", rf"(?:^|/){_CAMERA}_{DATE}{TIME}\d{{0,3}}(?:_\d{{14}})?(?:[_.-][^/]*)?$"
    ),
    Recorder("Pixel phones", rf"(?:^|/)PXL_{DATE}_{TIME}\d{{0,3}}[^/]*$", in_utc=True),
    Recorder("phones and cameras", rf"(?:^|/)(?:VID|IMG|MVIMG|MOV|video)?[-_ ]?{DATE}[-_ T]{TIME}[^\d/][^/]*$"),
    Recorder(
        "Milestone, Genetec and others: camera, date, time",
        rf"(?:^|/){_CAMERA}[-_ ]+{DATE}(?:[-_ T]{{1,3}}|_-_){TIME}(?!\d)[^/]*$",
    ),
)


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
        return datetime.strptime((date or year + month + day) + (time or hour + minute + second), "%Y%m%d%H%M%S")
    except (ValueError, OverflowError, OSError):
        return None


def _folder_camera(path: str) -> str | None:
    return next((folder for folder in path.split("/")[-2::-1] if not _NO_CAMERA.fullmatch(folder)), None)


def localize(start: datetime, zone: tzinfo) -> datetime:
    """Return a time of a recorder with its zone; of a time that clocks show twice, the first."""
    return start if start.tzinfo is not None else start.replace(tzinfo=zone).astimezone(UTC)
