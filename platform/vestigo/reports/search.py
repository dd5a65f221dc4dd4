"""The page of `vestigo search`: the query, the ranked crops, and where and when the person was seen."""

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
    pictures: Sequence[NDArray[np.uint8]],
    facts: Mapping[str, str],
) -> str:
    """Return the page; `queries` and `pictures` are RGB uint8 images of the views and of the hits, in their order."""
    return render(
        "search.html",
        {
            "facts": facts,
            "result": result,
            "queries": [data_uri(image) for image in queries],
            "hits": [
                {"hit": hit, "image": data_uri(image), "when": when(hit), "looks": described(hit)}
                for hit, image in zip(result.hits, pictures, strict=True)
            ],
            "cameras": _by_camera(result.hits),
        },
    )


def when(hit: Hit) -> str:
    """The time of a hit for people: UTC, else the place in its video, else nothing."""
    if hit.time is not None:
        return f"{hit.time:%Y-%m-%d %H:%M:%S}"
    if hit.offset_s is not None:
        minutes, seconds = divmod(hit.offset_s, 60)
        return f"{int(minutes)}:{seconds:04.1f} in the video"
    return ""


def described(hit: Hit) -> str:
    """What the model says of the person, for people: `gender female, no hat, upper colour red?`, where the question
    mark stands behind what it is less than 70 % sure of. Nothing for a model without attributes."""
    return ", ".join(
        _said(name.replace("_", " "), value) + ("?" if hit.confidences[name] < STRICT else "")
        for name, value in hit.attributes.items()
    )


def _said(name: str, value: str) -> str:
    if value in ("yes", "no"):
        return name if value == "yes" else f"no {name}"
    return f"{name} {value}"


def _by_camera(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """One row a camera, that of the best hit first; first and last by time where it is known."""
    rows = []
    for camera in dict.fromkeys(hit.camera for hit in hits):
        seen = [hit for hit in hits if hit.camera == camera]
        timed = sorted((hit for hit in seen if hit.time is not None), key=lambda hit: (hit.time, hit.rank))
        rows.append(
            {
                "camera": camera,
                "hits": len(seen),
                "best": seen[0],
                "first": when(timed[0]) if timed else "",
                "last": when(timed[-1]) if timed else "",
            }
        )
    return rows
