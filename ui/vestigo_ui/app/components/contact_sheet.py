"""The contact sheet: a page of people as one picture, each a button with its own words, marks and actions."""

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
from vestigo_ui.app.text import GROUND, TILE, tile

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
    """One crop of a sheet: `title` and `lines` stand below it, `mark` in its corner in the colour of `tone`, and `hint`
    shows while the pointer rests on it."""

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
    """Something to do with a crop: a `sign` on a small button, and a `key` that does the same from the keyboard."""

    name: str
    label: str
    sign: str
    key: str = ""


@dataclass(frozen=True)
class Chosen:
    """What somebody did: `action` is the name of an `Action`, or `open` for a click on the picture."""

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
    on_choose: Callable[[Chosen], None] | None = None,
) -> Chosen | None:
    """Show tiles, as many in a row as fit with `width` pixels, or `across` of at most that; return what was done.

    `on_choose` hears of it before the run begins, as callbacks of Streamlit's widgets do.
    """
    image, columns, rows = montage([one.image for one in tiles])
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
            {name: value for name, value in vars(one).items() if name != "image"} | {"lines": list(one.lines)}
            for one in tiles
        ],
    }
    mount = st.components.v2.component("vestigo.contact_sheet", **_COMPONENT)
    shown = {one.crop for one in tiles}

    def changed() -> None:
        # A click may come when the page has turned and the sheet is no longer on it.
        held = st.session_state.get(key)
        chosen = None if held is None else _chosen(held.event, shown)
        if chosen is not None and on_choose is not None:
            on_choose(chosen)

    return _chosen(mount(key=key, data=data, on_event_change=changed).event, shown)


def _chosen(event: Mapping[str, str] | None, shown: Collection[str]) -> Chosen | None:
    """Read what the browser says; it may say anything."""
    if not event or event["crop"] not in shown:
        return None
    return Chosen(str(event["action"]), str(event["crop"]))


def montage(images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], int, int]:
    """Lay RGB crops of any size out as tiles of one picture, row after row; return it, its columns and its rows."""
    columns = max(1, math.ceil(math.sqrt(len(images) * TILE[0] / TILE[1])))
    columns = min(columns, max(1, len(images)))
    rows = max(1, math.ceil(len(images) / columns))
    canvas = np.full((rows * TILE[0], columns * TILE[1], 3), GROUND, dtype=np.uint8)
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        canvas[row * TILE[0] : (row + 1) * TILE[0], column * TILE[1] : (column + 1) * TILE[1]] = tile(image)
    return canvas, columns, rows
