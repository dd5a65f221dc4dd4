from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import ray

from vestigo_models.errors import WorkError
from vestigo_workers.executors import cluster
from vestigo_workers.executors.cluster import connect


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_cluster_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch, server: socket.socket, scheme: str) -> None:
    address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
    server.close()
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(WorkError, match=rf"^no Ray cluster answers at RAY_ADDRESS={address}: start one there") as error:
        connect()
    assert "refused" in str(error.value)


def test_auto_is_named_when_the_last_cluster_has_ended(monkeypatch: pytest.MonkeyPatch, server: socket.socket) -> None:
    address = f"127.0.0.1:{server.getsockname()[1]}"
    server.close()
    monkeypatch.setattr(cluster, "canonicalize_bootstrap_address", lambda _: address)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(WorkError, match=r"^no Ray cluster answers at RAY_ADDRESS=auto: start one there .*refused\)$"):
        connect()


def test_address_that_ray_connects_to_must_answer(monkeypatch: pytest.MonkeyPatch, server: socket.socket) -> None:
    # The cluster listens on loopback, and Ray replaces 127.0.0.1.
    with socket.create_server(("127.0.0.1", 0)) as closed:
        external = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr(cluster, "canonicalize_bootstrap_address", lambda _: external)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
    with pytest.raises(WorkError, match=r"^no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:\d+: .*refused"):
        connect()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None])
def test_other_service_at_the_address_is_no_cluster(
    monkeypatch: pytest.MonkeyPatch, server: socket.socket, answer: bytes | None
) -> None:
    connections: list[socket.socket] = []

    def respond() -> None:
        connections.append(server.accept()[0])
        if answer is not None:
            connections[0].recv(100)
            connections[0].sendall(answer)
            connections[0].close()

    thread = threading.Thread(target=respond)
    thread.start()
    monkeypatch.setattr(cluster, "ANSWER_S", 0.5)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
    with pytest.raises(WorkError, match=r"^no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:\d+: start one there"):
        connect()
    thread.join()
    connections[0].close()


@pytest.mark.parametrize("address", ["somewhere", "host:port", "ray://host"])
def test_address_without_port_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(WorkError, match=rf"^RAY_ADDRESS={address} is no address of a cluster: write HOST:6379"):
        connect()


@pytest.mark.parametrize(
    "address", ["ray://ana:hunter2@host:10001", "hunter2@host:10001", "ray://a:hunter2/'@host:10001"]
)
def test_address_with_user_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    message = r"^RAY_ADDRESS of host:10001 holds a user or token: leave it out, and set RAY_AUTH_TOKEN instead$"
    with pytest.raises(WorkError, match=message):
        connect()


MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.9.0
    Python: 3.9.18
This process on node 10.0.0.1 was started with:
    Ray: 2.60.0
    Python: 3.11.4
"""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError(MISMATCH),
            "the Ray cluster at RAY_ADDRESS=auto runs Ray 2.9.0 with Python 3.9.18, this process Ray 2.60.0 with "
            "Python 3.11.4: install the same versions in both places",
        ),
        (
            ValueError("Ray Client requires pip package `ray[client]`."),
            f"RAY_ADDRESS=auto needs Ray's client: pip install 'ray[client]=={ray.__version__}', or run the command on "
            "a machine of the cluster with RAY_ADDRESS=auto",
        ),
        (
            RuntimeError("Python minor versions differ:\nclient is 3.11.4, server is 3.9.18"),
            "the Ray cluster at RAY_ADDRESS=auto cannot be joined: Python minor versions differ: client is 3.11.4, "
            "server is 3.9.18",
        ),
    ],
)
def test_cluster_that_cannot_be_joined_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def init(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(cluster, "_require_answer", lambda address: None)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(WorkError) as raised:
        connect()
    assert str(raised.value) == message


@pytest.mark.ray
def test_workers_get_as_much_of_the_processor_as_the_command() -> None:
    program = (
        "import os, ray\n"
        "from vestigo_workers.executors.cluster import connect\n"
        "connect()\n"
        "print(ray.get(ray.remote(lambda: os.nice(0)).remote()))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == os.nice(0)
