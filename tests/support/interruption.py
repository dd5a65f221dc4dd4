"""Progress callbacks that interrupt what reports to them."""

from __future__ import annotations

from vestigo_models.progress import ProgressCallback


def interrupt_after(steps: int) -> ProgressCallback:
    """Return a callback that raises KeyboardInterrupt at call number `steps`."""

    def progress(_done: int, _total: int | None) -> None:
        nonlocal steps
        steps -= 1
        if steps == 0:
            raise KeyboardInterrupt

    return progress
