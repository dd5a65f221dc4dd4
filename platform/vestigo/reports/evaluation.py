"""The page of `vestigo evaluate`: figures, the CMC curve, what was left out, and ranking strips to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vestigo.benchmark import CURVE, Benchmark
from vestigo.evaluation import SCORED
from vestigo.reports.page import data_uri, render
from vestigo_models.images import read_image

STRIPS_A_GROUP = 8


def evaluation_page(benchmark: Benchmark, facts: Mapping[str, str], protocol: str) -> str:
    """Return the page; `facts` (name -> value) say what was judged and how."""
    metrics = benchmark.metrics
    cameras = benchmark.by_camera()
    return render(
        "evaluation.html",
        {
            "facts": facts,
            "metrics": metrics,
            "evaluated": metrics.queries - sum(metrics.excluded.values()),
            "gallery": len(benchmark.gallery),
            "gallery_unreadable": benchmark.gallery_unreadable,
            "protocol": protocol,
            "curve": _curve(metrics.cmc),
            "cameras": [{"number": camera + 1, "metrics": found} for camera, found in cameras.items()],
            "groups": _groups(benchmark),
        },
    )


def _curve(cmc: Mapping[int, float | None]) -> dict[str, Any] | None:
    """The CMC curve in a 520 x 200 drawing; the scale begins at the ten below the first value."""
    points = [(rank, value) for rank, value in cmc.items() if value is not None]
    if not points:
        return None
    floor = min(90.0, 10.0 * (points[0][1] // 10.0))

    def x(rank: int) -> float:
        return 40.0 + 470.0 * (rank - 1) / (CURVE[-1] - 1)

    def y(value: float) -> float:
        return 10.0 + 160.0 * (100.0 - value) / (100.0 - floor)

    marks = np.linspace(floor, 100.0, 5)
    return {
        "line": " ".join(f"{x(rank):.1f},{y(value):.1f}" for rank, value in points),
        "points": [
            {"x": f"{x(rank):.1f}", "y": f"{y(value):.1f}", "text": f"Rank-{rank}: {value:.1f} %"}
            for rank, value in points
        ],
        "rows": [{"y": f"{y(mark):.1f}", "text": f"{mark:.0f}"} for mark in marks],
        "columns": [{"x": f"{x(rank):.1f}", "text": str(rank)} for rank in (1, 5, 10, 15, 20)],
    }


def _groups(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Queries worth a look: the worst, those in the middle and the best, by average precision."""
    scored = np.flatnonzero(benchmark.scores.status == SCORED)
    order = scored[np.argsort(benchmark.scores.ap[scored], kind="stable")]
    size = min(STRIPS_A_GROUP, -(-len(order) // 3))
    worst, rest = order[:size], order[size:]
    best = rest[len(rest) - min(size, len(rest)) :]
    between = rest[: len(rest) - len(best)]
    middle = between[max(0, (len(between) - size) // 2) :][:size]
    named = (("Hardest queries", worst), ("In the middle", middle), ("Easiest queries", best))
    return [{"title": title, "strips": [_strip(benchmark, row) for row in rows]} for title, rows in named if len(rows)]


def _strip(benchmark: Benchmark, row: int) -> dict[str, Any]:
    nearest = benchmark.nearest[row]
    pid = benchmark.query.pids[row]
    return {
        "query": _picture(benchmark, row),
        "pid": int(pid),
        "camera": int(benchmark.query.camids[row]) + 1,
        "ap": 100.0 * float(benchmark.scores.ap[row]),
        "first": int(benchmark.scores.first[row]),
        "answers": [
            {
                "image": data_uri(read_image(benchmark.gallery_paths[column])),
                "right": bool(benchmark.gallery.pids[column] == pid),
                "pid": int(benchmark.gallery.pids[column]),
                "camera": int(benchmark.gallery.camids[column]) + 1,
            }
            for column in nearest[nearest >= 0]
        ],
    }


def _picture(benchmark: Benchmark, row: int) -> str:
    return data_uri(read_image(benchmark.query_paths[row]))
