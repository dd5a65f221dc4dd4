"""One Ray cluster for all tests of a session; drivers, actors and workers die, the cluster stays up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tools.label_studio import free_port


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """Start a cluster of its own processes on loopback and yield its address, also set as RAY_ADDRESS."""
    address = f"127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    options = ["--node-ip-address=127.0.0.1", "--num-cpus=4", "--include-dashboard=false", "--disable-usage-stats"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # stays on loopback: see vestigo_workers
    with subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    ) as cluster:
        assert cluster.stdout is not None
        output = ""
        while "Ray runtime started" not in output:
            line = cluster.stdout.readline()
            assert line, f"Ray did not start: {output}"
            output += line
        os.environ["RAY_ADDRESS"] = address
        yield address
        import ray

        ray.shutdown()
        del os.environ["RAY_ADDRESS"]
        os.killpg(cluster.pid, signal.SIGTERM)
        try:
            cluster.communicate(timeout=3)
        except subprocess.TimeoutExpired:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.communicate()


@pytest.fixture(autouse=True)
def no_cluster_for_others(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the cluster from tests that do not use it: with RAY_ADDRESS, commands take Ray for small work too."""
    if request.node.get_closest_marker("ray") is None and "ray_cluster" not in request.fixturenames:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
