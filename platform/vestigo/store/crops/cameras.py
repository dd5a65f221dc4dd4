"""Cameras and their clocks: files keep the recorded time, readers see it corrected by the clock offset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from vestigo.store.sql.database import Database, to_record
from vestigo.store.sql.tables import CameraRow
from vestigo_models.errors import StoreError


@dataclass(frozen=True)
class Camera:
    """A camera; `clock_offset_s` seconds are added to the times that it recorded."""

    name: str
    clock_offset_s: float


@dataclass(frozen=True)
class CameraRepository:
    """The cameras of a store."""

    database: Database

    def list(self) -> Sequence[Camera]:
        """Return the cameras with indexed crops, by name."""
        return [to_record(Camera, row) for row in self.database.scalars(select(CameraRow).order_by(CameraRow.name))]

    def set_clock_offset(self, name: str, seconds: float) -> None:
        """Set the seconds that are added to the recorded times of a camera whose clock is slow by as much.

        Raises:
            StoreError: If the store has no such camera, or `seconds` is not finite.
        """
        if not math.isfinite(seconds):
            raise StoreError(f"clock offset {seconds} of camera {name} must be a number of seconds")
        with self.database.write() as session:
            row = session.get(CameraRow, name, with_for_update=True)
            if row is None:
                known = ", ".join(session.scalars(select(CameraRow.name).order_by(CameraRow.name))) or "none yet"
                raise StoreError(f"camera {name} is not in the store; its cameras are: {known}")
            row.clock_offset_s = seconds
