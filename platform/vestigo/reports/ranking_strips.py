"""Queries with their nearest images, true and false matches marked (as in figure 6 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vestigo.evaluation.evaluate import Evaluation
from vestigo.evaluation.metrics.ranking import SCORED
from vestigo.reports.page import data_uri
from vestigo_models.inference.images import read_image

STRIPS_A_GROUP = 8
PAIRS_A_GROUP = 5
"""Queries in a group if two models are shown."""

Judged = Sequence[tuple[str, Evaluation]]
"""Names and benchmarks of one model, or of two on the same images."""


def groups(judged: Judged) -> list[dict[str, Any]]:
    """Return groups of queries by average precision of the first model; for two models, also those that differ most."""
    if len(judged) == 1:
        worst, middle, best = _thirds(judged[0][1])
        named = [("Hardest queries", worst), ("In the middle", middle), ("Easiest queries", best)]
    else:
        (ours, first), (theirs, second) = judged
        gains = first.scores.ap - second.scores.ap
        order = np.flatnonzero((first.scores.status == SCORED) & (second.scores.status == SCORED))
        order = order[np.argsort(gains[order], kind="stable")]
        lost, won = order[gains[order] < 0][:PAIRS_A_GROUP], order[gains[order] > 0][::-1][:PAIRS_A_GROUP]
        hardest = _thirds(first)[0][:PAIRS_A_GROUP]
        named = [
            (f"Where {ours} gains most on {theirs}", won),
            (f"Where {theirs} is better by most", lost),
            (f"Hardest queries of {ours}", hardest),
        ]
    return [
        {"title": title, "strips": [_strip(judged, int(row)) for row in rows]} for title, rows in named if len(rows)
    ]


def _thirds(benchmark: Evaluation) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the worst queries, those in the middle and the best."""
    scored = np.flatnonzero(benchmark.scores.status == SCORED)
    order = scored[np.argsort(benchmark.scores.ap[scored], kind="stable")]
    size = min(STRIPS_A_GROUP, -(-len(order) // 3))
    worst, rest = order[:size], order[size:]
    best = rest[len(rest) - min(size, len(rest)) :]
    between = rest[: len(rest) - len(best)]
    return worst, between[max(0, (len(between) - size) // 2) :][:size], best


def _strip(judged: Judged, row: int) -> dict[str, Any]:
    _, first = judged[0]
    return {
        "query": data_uri(read_image(first.query_paths[row])),
        "pid": int(first.query.pids[row]),
        "camera": int(first.query.camids[row]) + 1,
        "rankings": [
            {
                "model": name if len(judged) > 1 else "",
                "ap": 100.0 * float(benchmark.scores.ap[row]),
                "answers": _answers(benchmark, row),
            }
            for name, benchmark in judged
        ],
    }


def _answers(benchmark: Evaluation, row: int) -> list[dict[str, Any]]:
    nearest = benchmark.nearest[row]
    return [
        {
            "image": data_uri(read_image(benchmark.gallery_paths[column])),
            "right": bool(benchmark.gallery.pids[column] == benchmark.query.pids[row]),
            "pid": int(benchmark.gallery.pids[column]),
            "camera": int(benchmark.gallery.camids[column]) + 1,
        }
        for column in nearest[nearest >= 0]
    ]
