"""Reports: self-contained HTML pages of what `index`, `search`, `evaluate` and `demo` found."""

from vestigo.reports.archive import Strip, archive_page, demo_page
from vestigo.reports.evaluation import evaluation_page
from vestigo.reports.panels import panel, region_overlay
from vestigo.reports.search import search_page, when

__all__ = ["Strip", "archive_page", "demo_page", "evaluation_page", "panel", "region_overlay", "search_page", "when"]
