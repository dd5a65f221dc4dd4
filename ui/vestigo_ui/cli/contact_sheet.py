"""The rows of a contact sheet, read from a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vestigo.reports.contact_sheet import SheetRow
    from vestigo.store.open import Store

SHOWN = 200
"""Tracklets on a sheet; more would make a page that no browser likes."""


def read_strips(store: Store, run: str, shown: int = SHOWN) -> tuple[list[SheetRow], int]:
    """Return the first tracklets of a run as rows of a contact sheet, and how many tracklets there are.

    Crops of still images, which are in no tracklet, make a row for each camera.
    """
    from vestigo.reports.contact_sheet import SheetRow
    from vestigo_models.inference.images import decode_image

    columns = ["crop_id", "tracklet", "camera", "offset_s", "quality", "run"]
    members: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    total: set[tuple[str, str]] = set()
    for batch in store.crops.scan(columns):
        for row in batch.to_pylist():
            key = (row["camera"], row["tracklet"])
            if row["run"] != run or (key not in members and len(members) >= shown):
                total |= {key} if row["run"] == run else set()
                continue
            total.add(key)
            members.setdefault(key, []).append((-row["quality"], row["offset_s"] or 0.0, row["crop_id"]))
    strips = []
    for (camera, tracklet), crops in sorted(members.items(), key=lambda item: (item[0][0], min(c[1] for c in item[1]))):
        best = [crop for _, _, crop in sorted(crops)[:10]]
        images = [decode_image(row["image"]) for row in store.crops.get(best, ["image"])]
        first, last = min(offset for _, offset, _ in crops), max(offset for _, offset, _ in crops)
        detail = f"{camera}, {first:.1f} to {last:.1f} s" if tracklet else camera
        strips.append(SheetRow(title=tracklet[:8] or "still images", detail=detail, images=images))
    return strips, len(total)
