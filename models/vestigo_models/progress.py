"""Progress callbacks, one type for every long computation."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int | None], None]
"""Called as `progress(done, total)`: how many items are finished, and of how many; None if the total is unknown."""

OpenProgress = Callable[[str], ProgressCallback]
"""Opens the progress display of a named stage and returns its callback."""


def ignore_progress(done: int, total: int | None = None) -> None:
    """Do nothing: the default of a `ProgressCallback` argument."""


def ignore_stages(_stage: str) -> ProgressCallback:
    """Return `ignore_progress`: the default of an `OpenProgress` argument."""
    return ignore_progress
