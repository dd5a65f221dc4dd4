"""Points in time as people and recorders write them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vestigo_models.errors import ConfigError

_DIGITS = re.compile(r"(?:19|20)\d{6}(?:\d{2}|\d{4}|\d{6})?")
_ORDINAL = re.compile(r"(?P<year>\d{4})-?(?P<day>\d{3})(?P<rest>[T ].*)?")
_MONTH = re.compile(r"\d{4}-\d{2}")
_MIDNIGHT = re.compile(r"[T ]24(?::?00){0,2}(?:[.,]0+)?(?=$|Z|[+-])")

_LEAP_SECOND = re.compile(r"([T ]\d\d:?59:?)60(?=$|[.,Z+-])")
_FRACTION = re.compile(r"(?P<whole>.*[T ]\d\d(?P<minutes>:?\d\d)?)[.,](?P<digits>\d+)(?P<zone>$|Z|[ +-].*)")
"""A fraction of an hour or a minute; Python reads it as one of a second."""


def parse_zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name, such as `Europe/Berlin`; raise ConfigError if it is unknown."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"unknown time zone {name!r}: name one of IANA's, such as Europe/Berlin, or UTC") from None


def parse_instant(text: str, zone: tzinfo = UTC) -> datetime:
    """Return the time that a text names, with its zone.

    All forms of ISO 8601 for points in time are read: dates are midnight; week and ordinal dates; 24:00; fractions of
    hours and minutes; a leap second is the second after it. So are the 14 digits of recorders, such as 20260501080000.
    Digits are never a number of seconds.
    `zone` is that of times without an offset.

    Raises:
        ConfigError: The text is no time, or the zone's clocks show this time twice or never.
    """
    time = _parse(text.strip().upper())
    if time is None:
        raise ConfigError(f"{text!r} is not a time: write ISO 8601, such as 2026-05-01T08:00:00+02:00")
    if time.tzinfo is not None:
        return time
    local = time.replace(tzinfo=zone)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        exists = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == time
        problem = "is shown twice" if exists else "is never shown"
        raise ConfigError(f"{text!r} {problem} by clocks of {zone}: give the time with its offset, such as +02:00")
    return local


def _parse(text: str) -> datetime | None:
    if _DIGITS.fullmatch(text):
        text = f"{text[:8]}T{text[8:]}" if len(text) > 8 else text
    elif _MONTH.fullmatch(text):
        text += "-01"
    elif text.isdecimal() and not _ORDINAL.fullmatch(text):
        return None
    text = text.replace("\N{MINUS SIGN}", "-")
    added = timedelta()
    if _MIDNIGHT.search(text):
        text, added = _MIDNIGHT.sub("T00:00", text), timedelta(days=1)
    elif _LEAP_SECOND.search(text):
        text, added = _LEAP_SECOND.sub(r"\g<1>59", text), timedelta(seconds=1)
    elif fraction := _FRACTION.fullmatch(text):
        unit_s = 60 if fraction["minutes"] else 3600
        text, added = fraction["whole"] + fraction["zone"], timedelta(seconds=float(f"0.{fraction['digits']}") * unit_s)
    try:
        if ordinal := _ORDINAL.fullmatch(text):
            first = datetime.fromisoformat(f"{ordinal['year']}-01-01{ordinal['rest'] or ''}")
            time = first + timedelta(days=int(ordinal["day"]) - 1)
            return time + added if time.year == first.year and int(ordinal["day"]) else None
        return datetime.fromisoformat(text) + added
    except (ValueError, OverflowError):
        return None
