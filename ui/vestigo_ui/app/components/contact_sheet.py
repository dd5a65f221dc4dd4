"""Contact sheet: crops as one image, each a button with text, mark and actions."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo_models.inference.images import encode_jpeg
from vestigo_ui.app.text import GROUND, TILE, fit_tile

Tone = Literal["", "plain", "right", "wrong", "unsure"]
QUALITY = 88
_HERE = Path(__file__)
_COMPONENT: dict[str, Any] = {
    "html": '<div class="sheet" role="list"></div>',
    "css": _HERE.with_name("contact_sheet.css").read_text("utf-8"),
    "js": _HERE.with_name("contact_sheet.js").read_text("utf-8"),
}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One crop of a contact sheet.

    Attributes:
        crop: Id that events of the tile carry.
        image: RGB crop of any size.
        title: First line below the crop.
        lines: Further lines below it; empty ones are omitted.
        mark: Text in the corner of the crop.
        tone: Colour of the mark and the border.
        hint: Text that is shown while the pointer is on the tile.
        selected: Whether the tile is highlighted.
    """

    crop: str
    image: NDArray[np.uint8]
    title: str = ""
    lines: tuple[str, ...] = ()
    mark: str = ""
    tone: Tone = ""
    hint: str = ""
    selected: bool = False


@dataclass(frozen=True, kw_only=True)
class Action:
    """Small button of every tile: its `sign`, its `label`, and the `key` that does the same from the keyboard."""

    name: str
    label: str
    sign: str
    key: str = ""


@dataclass(frozen=True)
class SheetEvent:
    """User input on a tile: `action` is the name of an `Action`, or `open` for a click on the crop."""

    action: str
    crop: str


def contact_sheet(
    tiles: Sequence[Tile],
    *,
    key: str,
    label: str,
    actions: Sequence[Action] = (),
    width: int = 116,
    across: int | None = None,
    on_event: Callable[[SheetEvent], None] | None = None,
) -> SheetEvent | None:
    """Show tiles and return the user's input on one of them.

    Args:
        tiles: Tiles in their order.
        key: Key of the component.
        label: Name of the sheet for screen readers.
        actions: Buttons of each tile.
        width: Width of a tile in pixels: the least one, or the largest if `across` is given.
        across: Tiles in a row; as many as fit if None.
        on_event: Called with the input before the page runs again, as Streamlit's callbacks are.
    """
    image, columns, rows = montage([tile.image for tile in tiles])
    data = {
        "image": "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, quality=QUALITY)).decode(),
        "columns": columns,
        "rows": rows,
        "width": width,
        "across": across,
        "ratio": TILE[1] / TILE[0],
        "label": label,
        "actions": [vars(action) for action in actions],
        "tiles": [
            {name: value for name, value in vars(tile).items() if name != "image"}
            | {"lines": [line for line in tile.lines if line]}
            for tile in tiles
        ],
    }
    mount = st.components.v2.component("vestigo.contact_sheet", **_COMPONENT)
    crops = {tile.crop for tile in tiles}

    def changed() -> None:
        state = st.session_state.get(key)
        event = None if state is None else _parse_event(state.event, crops)
        if event is not None and on_event is not None:
            on_event(event)

    return _parse_event(mount(key=key, data=data, on_event_change=changed).event, crops)


def _parse_event(event: Mapping[str, str] | None, crops: Collection[str]) -> SheetEvent | None:
    """Read an event of the browser; one of another sheet's crops, from before the page changed, is ignored."""
    if not event or event["crop"] not in crops:
        return None
    return SheetEvent(str(event["action"]), str(event["crop"]))


def montage(images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], int, int]:
    """Return RGB crops of any size as tiles of one image, row after row, with its columns and rows."""
    columns = max(1, math.ceil(math.sqrt(len(images) * TILE[0] / TILE[1])))
    columns = min(columns, max(1, len(images)))
    rows = max(1, math.ceil(len(images) / columns))
    canvas = np.full((rows * TILE[0], columns * TILE[1], 3), GROUND, dtype=np.uint8)
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        canvas[row * TILE[0] : (row + 1) * TILE[0], column * TILE[1] : (column + 1) * TILE[1]] = fit_tile(image)
    return canvas, columns, rows
