"""Contact sheet: crops as one image, each a button with text, mark and actions."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from vestigo_models.inference.images import encode_jpeg
from vestigo_ui.app import url_state
from vestigo_ui.app.components.actions import UserAction, handle_actions
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.images import load_crops
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
        crop: Id that actions on the tile carry.
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
    """Small button of every tile, and the key that does the same.

    Attributes:
        name: Name that its `UserAction` carries.
        label: Label for screen readers.
        sign: Text of the button.
        key: Letter on the keyboard.
        mark: Mark of a tile after the action, shown at once. Where a tile has it already, the button sends the action
            `withdraw` instead. None for an action that gives no mark.
        tone: Tone of that mark.
    """

    name: str
    label: str
    sign: str
    key: str = ""
    mark: str | None = None
    tone: Tone = ""


def contact_sheet(
    tiles: Sequence[Tile],
    *,
    key: str,
    label: str,
    on_action: Callable[[UserAction], object] | None = None,
    opens_result: bool = False,
    scope: str = "",
    actions: Sequence[Action] = (),
    width: int = 116,
    across: int | None = None,
) -> None:
    """Show tiles and handle the user's input on them; it is ignored without `on_action`.

    `on_action` is called with the name of one of `actions`, the buttons of each tile, or `open` for a click on the
    crop. `scope` is what else it depends on, such as the query: an action reaches the handler of its scope
    (`handle_actions`). `label` is the name of the sheet for screen readers. A row has `across` tiles with `width`
    pixels at most, or as many as fit with `width` pixels at least. With `opens_result`, a click opens the dialog of a
    result, which takes the keys that are pressed after it.
    """
    image, columns, rows = montage([tile.image for tile in tiles])
    place = "" if on_action is None else f"{key} {scope}"
    if on_action is not None:
        handle_actions(place, on_action)
    data = {
        "image": "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, quality=QUALITY)).decode(),
        "columns": columns,
        "rows": rows,
        "width": width,
        "across": across,
        "ratio": TILE[1] / TILE[0],
        "label": label,
        "scope": place,
        "opensResult": opens_result,
        "actions": [vars(action) for action in actions],
        "tiles": [
            {name: value for name, value in vars(tile).items() if name != "image"}
            | {"lines": [line for line in tile.lines if line]}
            for tile in tiles
        ],
    }
    st.components.v2.component("vestigo.contact_sheet", **_COMPONENT)(key=key, data=data)


def open_as(parameter: str) -> Callable[[UserAction], None]:
    """Return the handler that opens the crop of an action: it writes it to a parameter of the address."""
    return lambda action: url_state.put(**{parameter: action.crop})


def show_crops(
    context: PageContext,
    texts: Mapping[str, Sequence[str]],
    parameter: str,
    *,
    model: str,
    mark: str = "",
    tone: Tone = "",
    **options: Any,
) -> None:
    """Show crops of the store by id with their title and lines; a click writes one to a parameter of the address."""
    images = load_crops(context, list(texts), model=model)
    opened = url_state.text(parameter)
    tiles = [
        Tile(crop=crop, image=images[crop], title=title, lines=(*lines,), mark=mark, tone=tone, selected=crop == opened)
        for crop, (title, *lines) in texts.items()
    ]
    contact_sheet(tiles, on_action=open_as(parameter), **options)


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
