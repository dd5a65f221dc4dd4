"""The cameras of a store: listed, found by name, and their clocks corrected."""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import CameraRow
from vestigo_models.errors import StoreError
from vestigo_models.names import normal_form, unknown_name


@dataclass(frozen=True)
class Camera:
    """A camera; `clock_offset_s` seconds are added to the times that it recorded."""

    name: str
    clock_offset_s: float


@dataclass(frozen=True)
class CameraRepository:
    """The cameras of a store; an unknown one raises `StoreError`."""

    database: Database

    def list(self) -> Sequence[Camera]:
        """Return the cameras with indexed crops, by name."""
        return self.database.records(Camera, select(CameraRow).order_by(CameraRow.name))

    def select(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return the cameras that the texts of an option name.

        A text is the name of a camera, or several names separated by commas, in double quotes if they hold one.
        """
        known = [camera.name for camera in self.list()]
        forms = set(map(normal_form, known))
        names = [name for text in texts for name in ([text] if normal_form(text) in forms else _split(text))]
        return match_cameras(names, known)

    def set_clock_offset(self, name: str, seconds: float) -> None:
        """Set the seconds that are added to the recorded times of a camera whose clock is slow by as much."""
        if not math.isfinite(seconds):
            raise StoreError(f"clock offset {seconds} of camera {name} must be a number of seconds")

        def change(session: Session) -> None:
            for camera in match_cameras([name], known_cameras(session)):
                session.get_one(CameraRow, camera, with_for_update=True).clock_offset_s = seconds

        self.database.change(change)


def known_cameras(session: Session) -> Sequence[str]:
    """Return the names of the cameras, in order."""
    return session.scalars(select(CameraRow.name).order_by(CameraRow.name)).all()


def match_cameras(names: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the known cameras with some names, whatever the Unicode form of their accents.

    Raises:
        StoreError: If a name is not known.
    """
    by_form: dict[str, list[str]] = {}
    for camera in known:
        by_form.setdefault(normal_form(camera), []).append(camera)
    matching: list[str] = []
    for name in names:
        if normal_form(name) not in by_form:
            raise StoreError(unknown_name("camera", name, known, "Cameras in this store"))
        matching += by_form[normal_form(name)]
    return tuple(dict.fromkeys(matching))


def _split(text: str) -> Iterator[str]:
    """Yield the names in a text, as in `gate,"Hall, north"`."""
    try:
        names = next(csv.reader([text], skipinitialspace=True, strict=True))
    except (csv.Error, StopIteration):
        names = [text]
    yield from (name.strip() for name in names if name.strip()) if any(map(str.strip, names)) else [text]
