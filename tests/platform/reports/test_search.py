"""Pages hold names as data."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vestigo.reports.page import search_page, table_page
from vestigo.retrieval.search import Hit, SearchResult

HOSTILE = "<script>alert(1)</script>\"'&\x1b\u202e"


def test_names_are_no_markup_in_pages() -> None:
    hit = Hit(
        rank=1, crop="a" * 20, distance=0.5, camera=HOSTILE, time=None, offset_s=None, track="", source=HOSTILE,
        input=HOSTILE, frame=-1, attributes={"hat": HOSTILE}, confidences={"hat": 0.9},
    )  # fmt: skip
    image = np.zeros((8, 4, 3), np.uint8)
    page = search_page(SearchResult(hits=(hit,), compared=1, model="m"), [image], [image], {HOSTILE: HOSTILE})
    page += table_page(pd.DataFrame({HOSTILE: [HOSTILE]}), HOSTILE, {HOSTILE: HOSTILE})
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not {"\x1b", "\u202e"} & set(page)
