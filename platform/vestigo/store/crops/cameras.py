"""Cameras and their clocks: files keep the time that a camera recorded, readers see it put right."""

from __future__ import annotations

import math

from sqlalchemy import select
from sqlalchemy.orm import Session

from vestigo.store.runs.records import Camera
from vestigo.store.sql.tables import CameraRow
from vestigo_models.errors import StoreError


def cameras(session: Session) -> list[Camera]:
    """Return the cameras that were seen, by name."""
    return [Camera(row.name, row.clock_offset_s) for row in session.scalars(select(CameraRow).order_by(CameraRow.name))]


def set_clock_offset(session: Session, name: str, seconds: float) -> None:
    """Add `seconds` to the times that a camera recorded (its clock was slow by as much).

    Raises StoreError for a camera that was never seen, and for seconds that are not a finite number.
    """
    if not math.isfinite(seconds):
        raise StoreError(f"clock offset {seconds} of camera {name} must be a number of seconds")
    row = session.get(CameraRow, name, with_for_update=True)
    if row is None:
        known = ", ".join(camera.name for camera in cameras(session)) or "none yet"
        raise StoreError(f"camera {name} is not in the store; its cameras are: {known}")
    row.clock_offset_s = seconds
