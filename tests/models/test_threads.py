"""Threads of torch that wait do not keep the processor from others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SPINS, POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({SPINS: "7"}, "7"), ({POLICY: "ACTIVE"}, "None")],
    ids=["default", "own count", "own policy"],
)
def test_spins_are_bounded_before_torch_is_loaded(given: dict[str, str], expected: str) -> None:
    code = f"import os, sys, vestigo_models; print(os.environ.get({SPINS!r}), 'torch' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name not in (SPINS, POLICY)} | given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, "False"]
