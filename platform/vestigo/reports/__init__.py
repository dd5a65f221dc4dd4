"""Reports: self-contained HTML pages of what `index`, `search`, `evaluate` and `demo` found."""

from vestigo.reports.archive import Strip, archive_page, demo_page
from vestigo.reports.evaluation import Compared, evaluation_page
from vestigo.reports.panels import panel, region_overlay
from vestigo.reports.region_pictures import RegionPicture, region_pictures
from vestigo.reports.search import search_page, when
from vestigo.reports.table import table_page

__all__ = [
    "Compared",
    "RegionPicture",
    "Strip",
    "archive_page",
    "demo_page",
    "evaluation_page",
    "panel",
    "region_overlay",
    "region_pictures",
    "search_page",
    "table_page",
    "when",
]
