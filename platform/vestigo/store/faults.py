"""Fault points: named moments at which a test can kill the process."""

import os
import signal
from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def fault_point(name: str) -> None:
    """Mark a moment at which a crash must do no harm; does nothing without a hook."""
    if _hook is not None:
        _hook(name)


def install(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with the name of every fault point that this process passes; None removes the hook."""
    global _hook
    _hook = hook


def die_at(count: int) -> Callable[[str], None]:
    """Return a hook that kills the process (SIGKILL) at the fault point number `count`, from 1."""
    passed = 0

    def hook(_name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == count:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
