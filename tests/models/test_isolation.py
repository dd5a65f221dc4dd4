"""Child processes that read files from outside: results, crashes, exceptions and limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vestigo_models import isolation
from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import BadInput, DatasetError
from vestigo_models.isolation import call, map_each, stream


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def exit_silently() -> None:
    os._exit(3)


def allocate(size: int) -> int:
    return len(np.ones(size, dtype=np.uint8))


HELD: list[UInt8Array] = []


def hold_memory(size: int) -> int:
    HELD.append(np.ones(size, dtype=np.uint8))
    return os.getpid()


def loop_forever() -> None:
    while True:
        pass


def raise_error(error: Exception) -> None:
    raise error


def make_image(height: int, value: int = 7) -> tuple[UInt8Array, bytes]:
    return np.full((height, 2 * height, 3), value, dtype=np.uint8), b"jpeg"


def make_frames(count: int) -> Iterator[UInt8Array]:
    for index in range(count):
        yield np.full((1080, 1920, 3), index, dtype=np.uint8)
    crash()


def crash_on_three(number: int) -> int:
    if number == 3:
        crash()
    if number == 5:
        raise RecursionError("too deep")
    return number


def crash_first_time(path: Path) -> str:
    if not path.exists():
        path.touch()
        crash()
    return "good"


def call_nested(number: int) -> tuple[int, int]:
    return os.getpid(), call(crash_on_three, number)


def test_result_holds_writable_arrays_of_child() -> None:
    image, encoded = call(partial(make_image, value=9), 4000)
    assert image.shape == (4000, 8000, 3)
    assert (image[0, 0, 0], image[-1, -1, -1], encoded) == (9, 9, b"jpeg")
    image[0] = 0
    assert call(os.getpid) != os.getpid()


@pytest.mark.parametrize(
    ("function", "reason", "detail"),
    [
        (crash, "decoder-crashed", "a.mp4 crashed its decoder (SIGSEGV); convert it"),
        (exit_silently, "decoder-crashed", "a.mp4 crashed its decoder (exit status 3); convert it"),
        (loop_forever, "too-slow", "a.mp4 gives no result within 0.2 s; convert it"),
        (partial(allocate, 2**31), "too-much-memory", "a.mp4 needs more memory than is allowed; convert it"),
        (
            partial(raise_error, ZeroDivisionError("rate\nis 0")),
            "unreadable",
            "a.mp4 cannot be read (ZeroDivisionError: rate)",
        ),
        (partial(raise_error, BadInput("truncated", "half")), "truncated", "half"),
    ],
)
def test_end_of_child_is_bad_input(function: partial[None], reason: str, detail: str) -> None:
    with pytest.raises(BadInput) as caught:
        call(function, name="a.mp4", seconds=0.2 if function is loop_forever else 60, memory_bytes=2**30)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


def test_errors_of_vestigo_pass_unchanged() -> None:
    with pytest.raises(DatasetError, match=r"^a\.mat: no such field$"):
        call(raise_error, DatasetError("a.mat: no such field"))


def test_stream_yields_items_before_crash() -> None:
    frames = stream(make_frames, 5)
    assert [int(next(frames)[500, 500, 1]) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(BadInput, match="decoder-crashed"):
        next(frames)


def test_abandoned_stream_ends_its_child() -> None:
    frames = stream(make_frames, 5)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert call(os.getpid) > 0


def test_map_continues_behind_item_that_crashes() -> None:
    results = list(map_each(crash_on_three, range(8)))
    reasons = [result.reason if isinstance(result, BadInput) else result for result in results]
    assert reasons == [0, 1, 2, "decoder-crashed", 4, "unreadable", 6, 7]


def test_child_serves_calls_until_one_fails() -> None:
    child = call(os.getpid)
    assert call(os.getpid) == child
    with pytest.raises(BadInput):
        call(raise_error, ValueError("bad"))
    other = call(os.getpid)
    assert other != child
    os.kill(other, signal.SIGKILL)
    assert call(os.getpid) not in (child, other)


def test_crash_behind_other_inputs_is_tried_again(tmp_path: Path) -> None:
    """Memory that an earlier file damaged must not quarantine a good one."""
    call(os.getpid)
    assert call(crash_first_time, tmp_path / "call") == "good"
    assert list(map_each(crash_first_time, [tmp_path, tmp_path / "item"])) == ["good", "good"]


def test_memory_that_other_inputs_left_is_given_back() -> None:
    limit = 1 << 30
    children = [call(hold_memory, 600 << 20, memory_bytes=limit) for _ in range(3)]
    assert len(set(children)) == 3
    with pytest.raises(BadInput, match="needs more memory than is allowed"):
        call(hold_memory, 2 << 30, memory_bytes=limit)


def test_nested_call_stays_in_child() -> None:
    pid, number = call(call_nested, 4)
    assert (pid == os.getpid(), number) == (False, 4)


def test_server_that_dies_is_replaced() -> None:
    parent = call(os.getppid)
    server = isolation._SERVER._process
    assert server is not None
    server.kill()
    server.wait()
    assert call(os.getppid) != parent


def test_children_end_with_killed_parent() -> None:
    """A busy child notices nothing by itself; its server ends it."""
    code = (
        "from vestigo_models.isolation import call, stream; from tests.models.test_isolation import wait_in_child;"
        "numbers = stream(wait_in_child); print(next(numbers), flush=True); next(numbers)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert is_running(child)
        process.kill()
    deadline = time.monotonic() + 30
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(child)


def wait_in_child() -> Iterator[int]:
    yield os.getpid()
    loop_forever()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_forked_process_starts_its_own_server() -> None:
    server = call(os.getppid)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, str(call(os.getppid)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(reader, 20)) != server
    os.close(reader)
    os.close(writer)
    assert call(os.getppid) == server


def test_relative_paths_follow_the_folder_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        monkeypatch.chdir(tmp_path / name)
        assert call(Path.read_text, Path("file")) == name
