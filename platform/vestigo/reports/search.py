"""The page of `vestigo search`: query, ranked crops, cameras and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.reports.page import data_uri, render
from vestigo.retrieval.search import Hit, SearchResult
from vestigo_models.attribute_filter.rule import STRICT


def search_page(
    result: SearchResult,
    queries: Sequence[NDArray[np.uint8]],
    crops: Sequence[NDArray[np.uint8]],
    facts: Mapping[str, str],
) -> str:
    """Return the page; `queries` and `crops` are RGB uint8 images of the views and of the hits, in order."""
    return render(
        "search.html",
        {
            "facts": facts,
            "result": result,
            "queries": [data_uri(image) for image in queries],
            "hits": [
                {"hit": hit, "image": data_uri(image), "when": format_time(hit), "attributes": describe_attributes(hit)}
                for hit, image in zip(result.hits, crops, strict=True)
            ],
            "cameras": _by_camera(result.hits),
        },
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
    return ", ".join(
        _phrase(name.replace("_", " "), value) + ("?" if hit.confidences[name] < STRICT else "")
        for name, value in hit.attributes.items()
    )


def _phrase(name: str, value: str) -> str:
    if value in ("yes", "no"):
        return name if value == "yes" else f"no {name}"
    return f"{name} {value}"


def _by_camera(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Return one row for each camera, that of the best hit first, with first and last known times."""
    rows = []
    for camera in dict.fromkeys(hit.camera for hit in hits):
        of_camera = [hit for hit in hits if hit.camera == camera]
        timed = sorted((hit for hit in of_camera if hit.time is not None), key=lambda hit: (hit.time, hit.rank))
        rows.append(
            {
                "camera": camera,
                "hits": len(of_camera),
                "best": of_camera[0],
                "first": format_time(timed[0]) if timed else "",
                "last": format_time(timed[-1]) if timed else "",
            }
        )
    return rows
