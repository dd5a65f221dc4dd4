"""Contact sheets of an archive: a row for each tracklet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.reports.page import data_uri, render


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """One row of a contact sheet; `images` are RGB uint8 crops, the best first."""

    title: str
    detail: str
    images: Sequence[NDArray[np.uint8]]


def archive_page(strips: Sequence[SheetRow], facts: Mapping[str, str], total: int) -> str:
    """Return the contact sheet of an archive that holds `total` tracklets, of which `strips` are shown."""
    return render("archive.html", {"facts": facts, "rows": _rows(strips), "total": total})


def demo_page(
    strips: Sequence[SheetRow],
    facts: Mapping[str, str],
    figures: Mapping[str, str],
    links: Mapping[str, str],
    commands: Sequence[str],
) -> str:
    """Return the final page of the demo; `links` maps files in its folder to their titles."""
    context = {"facts": facts, "figures": figures, "links": links, "commands": commands, "rows": _rows(strips)}
    return render("demo.html", context)


def _rows(strips: Sequence[SheetRow]) -> list[dict[str, Any]]:
    return [
        {"title": strip.title, "detail": strip.detail, "images": [data_uri(image) for image in strip.images]}
        for strip in strips
    ]
