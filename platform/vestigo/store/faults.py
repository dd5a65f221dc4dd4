"""Named points at which a test may end the process, so that every half-done state is seen by a test."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def fault_point(name: str) -> None:
    """Mark a moment at which a crash must do no harm; does nothing unless a hook is installed."""
    if _hook is not None:
        _hook(name)


def install(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with the name of every fault point of this process; None takes it away."""
    global _hook
    _hook = hook


def die_at(count: int) -> Callable[[str], None]:
    """Return a hook that ends the process with SIGKILL at fault point number `count` (from 1)."""
    passed = 0

    def hook(name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == count:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
