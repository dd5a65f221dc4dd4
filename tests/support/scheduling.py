"""Distribution of tests in parallel runs: a file's tests stay in one process, and so do the tests of one server."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

UNITS = {
    "ray_cluster": (
        "tests/workers/training/test_distributed.py",
        "tests/workers/training/test_labels.py",
        "tests/workers/retraining/test_fit.py",
        "tests/workers/adaptation/test_fit.py",
        "tests/workers/executors/test_executors_alike.py",
        "tests/workers/regions/",
        "tests/workers/executors/test_batches.py",
        "tests/workers/evaluation/",
        "tests/end_to_end/test_ray_run.py",
    ),
    "label_studio": (
        "tests/end_to_end/test_review_loop.py",
        "tests/platform/review/label_studio/",
        "tests/ui/app/pages/review/test_server.py",
    ),
    "screen": (
        "tests/ui/browser/test_accessibility.py",
        "tests/ui/browser/test_actions.py",
        "tests/ui/browser/test_address.py",
        "tests/ui/browser/test_archive.py",
        "tests/ui/browser/test_attributes.py",
        "tests/ui/browser/test_find.py",
        "tests/ui/browser/test_result.py",
        "tests/ui/browser/test_sign_in.py",
    ),
    "footage": ("tests/end_to_end/test_footage.py",),
    "store_crashes": ("tests/platform/store/test_crashes.py",),
    "retry_crashes": ("tests/platform/store/runs/test_retry_crashes.py",),
    "demo": ("tests/end_to_end/test_demo.py",),
    "index_crashes": ("tests/end_to_end/test_crashes.py",),
    "index_refresh": ("tests/platform/sightings/test_refresh.py",),
    "ablation": ("tests/benchmarks/ablation/test_run.py",),
}
"""Files and folders by the unit that one process runs; units that take longest start first.

The first three are named like the fixture of the server that their tests share.
"""
SERVERS = ("ray_cluster", "label_studio", "screen")


def unit_of(node: str) -> str:
    """Return the unit of a test by its node id; files that no unit names are units of their own."""
    file = node.partition("::")[0]
    return next((unit for unit, paths in UNITS.items() if file.startswith(paths)), file)


class UnitScheduling(LoadScopeScheduling):
    """Give each unit to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> UnitScheduling | None:
    return UnitScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        server = next((server for server in SERVERS if server in getattr(item, "fixturenames", ())), None)
        if server is not None and unit_of(item.nodeid) != server:
            raise pytest.UsageError(f"{item.nodeid} uses {server}: name its file in tests/support/scheduling.py")
    if hasattr(config, "workerinput"):
        order = {unit: place for place, unit in enumerate(UNITS)}
        items.sort(key=lambda item: order.get(unit_of(item.nodeid), len(order)))
