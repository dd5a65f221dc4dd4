from datetime import UTC, datetime, timedelta, timezone

import pytest

from vestigo.instants import parse_instant, parse_zone
from vestigo_models.errors import ConfigError

BERLIN = parse_zone("Europe/Berlin")
MORNING = datetime(2026, 5, 1, 8, tzinfo=UTC)
FORMS = {
    "2026-05-01T08:00:00": MORNING,
    "2026-05-01 08:00": MORNING,
    "20260501T080000Z": MORNING,
    "20260501080000": MORNING,
    "202605010800": MORNING,
    "2026-05-01t08:00:00z": MORNING,
    "2026-05-01T10:00:00+02:00": MORNING,
    "20260501T1000+02": MORNING,
    "2026-05-01T08:00:00,250": MORNING + timedelta(milliseconds=250),
    "2026-05-01T08:00:00.25Z": MORNING + timedelta(milliseconds=250),
    "2026-W18-5T08:00": MORNING,
    "2026-121T08:00": MORNING,
    "2026121": datetime(2026, 5, 1, tzinfo=UTC),
    "20260501": datetime(2026, 5, 1, tzinfo=UTC),
    "2026-05-01": datetime(2026, 5, 1, tzinfo=UTC),
    "2026-05": datetime(2026, 5, 1, tzinfo=UTC),
    "2026-04-30T24:00": datetime(2026, 5, 1, tzinfo=UTC),
    "2026-04-30T24:00:00Z": datetime(2026, 5, 1, tzinfo=UTC),
    "2026-04-30T24:00:00.000Z": datetime(2026, 5, 1, tzinfo=UTC),
    "2026-04-30T23:59:60Z": datetime(2026, 5, 1, tzinfo=UTC),
    "20260430T235960": datetime(2026, 5, 1, tzinfo=UTC),
    "2026-05-01T07,5": MORNING - timedelta(minutes=30),
    "2026-121T08:00.5Z": MORNING + timedelta(seconds=30),
    "20260501T0959,75+02:00": MORNING - timedelta(seconds=15),
    "2026-05-01T06:00\N{MINUS SIGN}02:00": MORNING,
}


@pytest.mark.parametrize("text", FORMS)
def test_forms_of_iso_8601_are_read(text: str) -> None:
    assert parse_instant(text) == FORMS[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1777622400",
        "2026",
        "8:00",
        "yesterday",
        "2026-13-01",
        "2026-366",
        "2026-000",
        "1e9",
        "99999999",
        "1704100810",
        "17041008",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a time: write ISO 8601"):
        parse_instant(text)


def test_times_are_those_of_the_zone() -> None:
    assert parse_instant("2026-05-01T10:00", BERLIN) == MORNING
    assert parse_instant("2026-01-01T10:00", BERLIN) == datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert parse_instant("2026-05-01T08:00Z", BERLIN) == MORNING


def test_times_that_clocks_show_twice_or_never_are_refused() -> None:
    with pytest.raises(ConfigError, match="is shown twice by clocks of Europe/Berlin"):
        parse_instant("2026-10-25T02:30", BERLIN)
    with pytest.raises(ConfigError, match="is never shown by clocks of Europe/Berlin"):
        parse_instant("2026-03-29T02:30", BERLIN)
    summer = parse_instant("2026-10-25T02:30+02:00", BERLIN)
    assert summer == datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2)))


def test_unknown_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown time zone 'Berlin'"):
        parse_zone("Berlin")
