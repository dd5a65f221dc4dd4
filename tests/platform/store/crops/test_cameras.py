from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.platform.store.crops.test_reader_scan import add, rows_of
from tests.support.fake_pipeline import START, crop
from vestigo.store.crops.cameras import match_cameras
from vestigo.store.open import Store
from vestigo_models.errors import StoreError
from vestigo_models.names import unknown_name

NAMES = ("gate", "Gate, north", "hall", "Entrée", "[red]", "\x1b[31mx", "=1+1", ' "quoted" ')


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(tmp_path / "s")
    add(opened, [crop(f"{number}.jpg", camera=name) for number, name in enumerate(NAMES)])
    return opened


@pytest.mark.parametrize("name", NAMES)
def test_every_name_selects_its_camera(store: Store, name: str) -> None:
    for form in ("NFC", "NFD"):
        typed = unicodedata.normalize(form, name)  # type: ignore[arg-type]
        assert store.cameras.select([typed]) == (name,)
        assert [row["camera"] for row in rows_of(store.crops.scan(["camera"], cameras=[typed]))] == [name]


@pytest.mark.parametrize(
    ("texts", "selected"),
    [
        (["gate,hall"], ("gate", "hall")),
        (["gate, hall"], ("gate", "hall")),
        (["gate", "hall", "gate"], ("gate", "hall")),
        (["Gate, north", "hall"], ("Gate, north", "hall")),
        (['"Gate, north",hall'], ("Gate, north", "hall")),
    ],
)
def test_option_holds_names_separated_by_commas(store: Store, texts: list[str], selected: tuple[str, ...]) -> None:
    assert store.cameras.select(texts) == selected


def test_unknown_camera_is_refused_with_close_names_first(store: Store) -> None:
    message = 'Unknown camera "halle". Cameras in this store: hall, '
    for call in (
        lambda: store.cameras.select(["halle"]),
        lambda: store.cameras.set_clock_offset("halle", 1.0),
        lambda: store.crops(cameras="halle"),
        lambda: store.crops.scan(["camera"], cameras=["gate", "halle"]),
        lambda: store.export_market(Path(store.ref) / "out", cameras=["halle"]),
    ):
        with pytest.raises(StoreError, match=message):
            call()
    assert not (Path(store.ref) / "out").exists()
    for text in ("", " , ", "nowhere,gate"):
        with pytest.raises(StoreError, match="Unknown camera"):
            store.cameras.select([text])


def test_names_that_differ_in_form_only_are_one_camera() -> None:
    known = [unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")]
    assert match_cameras(["é"], known) == tuple(known)


def test_many_known_names_are_cut() -> None:
    names = [f"c{number}" for number in range(30)]
    assert unknown_name("camera", "x", [], "Cameras") == 'Unknown camera "x". Cameras: none yet.'
    assert unknown_name("camera", "C29", names, "Cameras").startswith('Unknown camera "C29". Cameras: c29, ')
    assert unknown_name("camera", "x", names, "Cameras").endswith(" and 10 more.")
    assert unknown_name("camera", "x", ["hall, north"], "Cameras").endswith('Cameras: "hall, north".')


def test_time_without_zone_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="has no zone"):
        store.crops(since=datetime(2026, 5, 1))
    assert len(store.crops(since=START - timedelta(days=1))) == len(NAMES)
