"""The page of `vestigo search`: query, ranked crops, cameras and times."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vestigo.reports.page import render
from vestigo.retrieval.search import Hit, SearchResult
from vestigo_models.attribute_filter.rule import STRICT


def search_page(
    result: SearchResult,
    queries: Sequence[NDArray[np.uint8]],
    crops: Sequence[NDArray[np.uint8]],
    facts: Mapping[str, str],
) -> str:
    """Return the page; `queries` and `crops` are RGB uint8 images of the views and of the hits, in order."""
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
    return ", ".join(
        _phrase(name.replace("_", " "), value) + ("?" if hit.confidences[name] < STRICT else "")
        for name, value in hit.attributes.items()
    )


def _phrase(name: str, value: str) -> str:
    if value in ("yes", "no"):
        return name if value == "yes" else f"no {name}"
    return f"{name} {value}"
