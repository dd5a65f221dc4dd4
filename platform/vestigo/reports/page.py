"""Self-contained HTML pages: escaping templates, inlined images, and the pages of tables, archives and searches."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from vestigo.retrieval.search import Hit, SearchResult
from vestigo_models.attribute_filter.rule import STRICT
from vestigo_models.inference.images import encode_jpeg, read_image
from vestigo_models.names import escape_controls

THUMBNAIL_HEIGHT = 160
"""Pixels; pages show images at 128 pixels or less, and a page of 300 images stays near 2 MB."""


class SheetRow(NamedTuple):
    """One row of a contact sheet; `images` are RGB uint8 crops, the best first."""

    title: str
    detail: str
    images: Sequence[NDArray[np.uint8]]


def render(template: str, **context: Any) -> str:
    """Fill a template of this package; every value is escaped."""
    return _ENVIRONMENT.get_template(template).render(context)


def data_uri(image: NDArray[np.uint8] | Path) -> str:
    """Return a thumbnail of an RGB uint8 image (H, W, 3), or of an image file, as a data URI."""
    if isinstance(image, Path):
        image = read_image(image)
    height, width = image.shape[:2]
    if height > THUMBNAIL_HEIGHT:
        size = (max(1, round(width * THUMBNAIL_HEIGHT / height)), THUMBNAIL_HEIGHT)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, quality=85)).decode()


def table_page(table: pd.DataFrame, title: str, facts: Mapping[str, str]) -> str:
    """Return a page with a table; missing values are empty cells."""
    shown = table.astype(object).where(table.notna(), "")
    return render("table.html", title=title, facts=facts, columns=list(table.columns), rows=shown.to_numpy().tolist())


def archive_page(rows: Sequence[SheetRow], facts: Mapping[str, str], total: int) -> str:
    """Return the contact sheet of an archive that holds `total` tracklets, of which `rows` are shown."""
    return render("archive.html", facts=facts, rows=rows, total=total)


def search_page(
    result: SearchResult,
    queries: Sequence[NDArray[np.uint8]],
    crops: Sequence[NDArray[np.uint8]],
    facts: Mapping[str, str],
) -> str:
    """Return the page of a search; `queries` and `crops` are RGB uint8 images of the views and hits, in order."""
    cameras: dict[str, list[Hit]] = {}
    for hit in result.hits:
        cameras.setdefault(hit.camera, []).append(hit)
    return render(
        "search.html",
        facts=facts,
        queries=queries,
        hits=list(zip(result.hits, crops, strict=True)),
        cameras=cameras,
        format_time=format_time,
        describe_attributes=describe_attributes,
    )


def format_time(hit: Hit) -> str:
    """Return the time of a hit in UTC, else its position in the video, else ""."""
    if hit.time is not None:
        return f"{hit.time:%Y-%m-%d %H:%M:%S}"
    if hit.offset_s is not None:
        minutes, seconds = divmod(hit.offset_s, 60)
        return f"{int(minutes)}:{seconds:04.1f} in the video"
    return ""


def describe_attributes(hit: Hit) -> str:
    """Return the predicted attributes as text, such as `gender female, no hat, upper colour red?`.

    A question mark follows values with a confidence below 70 %. "" for a model without attributes.
    """
    phrases = []
    for name, value in hit.attributes.items():
        title = name.replace("_", " ")
        phrase = {"yes": title, "no": f"no {title}"}.get(value, f"{title} {value}")
        phrases.append(phrase + ("?" if hit.confidences[name] < STRICT else ""))
    return ", ".join(phrases)


_ENVIRONMENT = Environment(
    loader=PackageLoader("vestigo.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    finalize=lambda value: escape_controls(value) if type(value) is str else value,
)
_ENVIRONMENT.filters["percent"] = lambda value: "–" if value is None else f"{value:.1f}"
_ENVIRONMENT.filters["thousands"] = lambda value: f"{value:,}"
_ENVIRONMENT.filters["thumbnail"] = data_uri
