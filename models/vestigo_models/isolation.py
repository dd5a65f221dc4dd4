"""Run functions that parse files from outside in child processes with limits of time and memory.

A light server process imports the modules of the functions once and forks children, so that a child costs milliseconds
and starts without the memory of the caller; it serves calls until one fails. A crash, an exception or a limit ends the
child only. The functions are named by module, must be importable without torch, and see no monkeypatches.
"""

from __future__ import annotations

import atexit
import importlib
import io
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar, cast

import numpy as np

from vestigo_models.errors import BadInput, VestigoError, WorkError, first_line

Item = TypeVar("Item")
Result = TypeVar("Result")

SECONDS = 60.0
"""Longest wait for one result. Children work ahead of their caller, so that most waits are shorter than the work."""
SLOWEST_READING = 1_000_000  # bytes per second of the slowest medium on which a large file is read to its end
MEMORY_BYTES = 4 * 2**30  # largest private memory of a child: decoding an image of the largest size takes half of it
CRASHED, TOO_SLOW, TOO_MUCH_MEMORY = "decoder-crashed", "too-slow", "too-much-memory"
CALLS, IDLE_CHILDREN = 200, 2
"""Calls that one child serves, in case a library leaks, and children that are kept between calls."""
_INTEGER = struct.Struct("<q")
_SERVER_CODE = "import sys; from vestigo_models.isolation import serve; serve(int(sys.argv[1]))"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
"""A server without threads can fork at any moment."""
_is_child = False


def call(
    function: Callable[..., Result],
    *args: object,
    name: str = "the input",
    seconds: float = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> Result:
    """Return `function(*args)`, computed in a child process; in a child it is called directly.

    `function` is one of a module, or a `partial` of one; arguments and result are data, not open files or devices.
    `name` is what it reads, for messages. `seconds` and the private memory of the child are limited.

    Raises:
        BadInput: `decoder-crashed`, `too-slow`, `too-much-memory`, or `unreadable` for an exception that is no
            `VestigoError`.
        VestigoError: As `function`.
    """
    # A child that has served calls may crash, or lack memory, because of an earlier file; a new one shows whose fault
    # it is.
    for has_retry in (True, False):
        try:
            (result,) = stream(
                _call_once, function, *args, name=name, seconds=seconds, memory_bytes=memory_bytes, reuse=has_retry
            )
            break
        except BadInput as error:
            if not has_retry or error.reason not in (CRASHED, TOO_MUCH_MEMORY):
                raise
    return cast(Result, result)


def map_each(
    function: Callable[[Item], Result], items: Sequence[Item], *, children: int = 1
) -> Iterator[Result | BadInput]:
    """Yield `function(item)` or the error for each item, in order; children work ahead and are replaced if they die."""
    parts = [_map_part(function, items[first::children]) for first in range(children)]
    return (next(parts[position % children]) for position in range(len(items)))


def _map_part(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result | BadInput]:
    position = 0
    while position < len(items):
        first = position
        try:
            for result in stream(_call_each, function, items[position:]):
                yield result
                position += 1
        except BadInput as error:
            # After other items a crash may be the fault of one of them: the item is tried again in a new child.
            if error.reason != CRASHED or position == first:
                yield error
                position += 1


def stream(
    function: Callable[..., Iterator[Result]],
    *args: Any,
    name: str = "the input",
    seconds: float = SECONDS,
    memory_bytes: int = MEMORY_BYTES,
    reuse: bool = False,
) -> Iterator[Result]:
    """Yield the items of the generator `function(*args)`, which runs ahead in a child process by one item or 200 KB.

    Arguments and exceptions are those of `call`; `seconds` limits the wait for each item. With `reuse` the child may be
    one that has served calls.
    """
    if _is_child:
        yield from function(*args)
        return
    parsed = args[0] if function in (_call_once, _call_each) else function
    with _SERVER.child(getattr(parsed, "func", parsed).__module__, reuse) as child:
        try:
            child.connection.settimeout(seconds)
            # Paths among the arguments can be relative to the folder of the caller, which may have changed.
            _send(child.connection, (function, args, name, memory_bytes, os.getcwd()))
            while (message := _receive(child.connection)) is not None:
                is_item, value = message
                if not is_item:
                    raise value
                yield value
            child.is_idle = True
        except TimeoutError:
            raise BadInput(TOO_SLOW, f"{name} gives no result within {seconds:g} s; convert it") from None
        except ConnectionError:
            raise BadInput(CRASHED, f"{name} crashed its decoder ({child.stop()}); convert it") from None


def serve(descriptor: int) -> None:
    """Fork a child for each module name with a connection that arrives, until the parent closes its end."""
    children: set[int] = set()
    with socket.socket(fileno=descriptor) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
            if not message:
                break
            if not descriptors:
                (pid,) = _INTEGER.unpack(message)
                status = int(signal.SIGKILL)
                if pid in children:
                    children.remove(pid)
                    os.kill(pid, signal.SIGKILL)
                    _, status = os.waitpid(pid, 0)
                control.sendall(_INTEGER.pack(status))
                continue
            # A module that cannot be imported is the child's error.
            with suppress(Exception):
                importlib.import_module(message.decode())
            pid = os.fork()
            if not pid:
                control.close()
                _work(socket.socket(fileno=descriptors[0]))
            os.close(descriptors[0])
            children.add(pid)
            control.sendall(_INTEGER.pack(pid))
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _work(connection: socket.socket) -> None:
    """Serve the calls of a forked child until the parent closes its end."""
    global _is_child
    _is_child = True
    try:
        # What libraries write about broken files is no output of a command, and a core file would hold pictures.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        _limit(resource.RLIMIT_CORE, 0)
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        while True:
            name = "the input"
            try:
                function, args, name, memory_bytes, folder = _receive(connection)
                os.chdir(folder)
                _limit(resource.RLIMIT_DATA, memory_bytes)
                for value in function(*args):
                    _send(connection, (True, value))
                _send(connection, None)
            except ConnectionError:
                break
            except Exception as error:  # noqa: BLE001  (parsers of hostile files raise anything)
                _send(connection, (False, _to_error(error, name)))
    finally:
        os._exit(0)


def _call_once(function: Callable[..., Result], *args: object) -> Iterator[Result]:
    yield function(*args)


def _call_each(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result | BadInput]:
    for item in items:
        try:
            result: Result | BadInput = function(item)
        except Exception as error:
            known = _to_error(error, "the input")
            if not isinstance(known, BadInput):
                raise
            result = known
        yield result


def _to_error(error: Exception, name: str) -> VestigoError:
    if isinstance(error, VestigoError):
        return error
    if isinstance(error, MemoryError) or "Insufficient memory" in str(error):
        return BadInput(TOO_MUCH_MEMORY, f"{name} needs more memory than is allowed; convert it")
    return BadInput("unreadable", f"{name} cannot be read ({type(error).__name__}: {first_line(error)})")


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _send(connection: socket.socket, value: object) -> None:
    """Send an object; arrays go without a copy. Both ends are processes of ours, so that pickling is safe."""
    buffers: list[Any] = []
    stream = io.BytesIO()
    ForkingPickler(stream, 5, True, buffers.append).dump(value)
    parts = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
    connection.sendall(b"".join(map(_INTEGER.pack, (len(parts), *(part.nbytes for part in parts)))))
    for part in parts:
        connection.sendall(part)


def _receive(connection: socket.socket) -> Any:
    (count,) = _INTEGER.unpack(_receive_bytes(connection, _INTEGER.size))
    sizes = [size for (size,) in _INTEGER.iter_unpack(_receive_bytes(connection, count * _INTEGER.size))]
    data, *buffers = (_receive_bytes(connection, size) for size in sizes)
    return ForkingPickler.loads(data, buffers=buffers)


def _receive_bytes(connection: socket.socket, size: int) -> memoryview:
    data = np.empty(size, dtype=np.uint8).data
    place = 0
    while place < size:
        count = connection.recv_into(data[place:])
        if not count:
            raise ConnectionResetError
        place += count
    return data


@dataclass(eq=False)
class _Child:
    """A forked child and the connection to it; leaving the context ends it, unless its call has succeeded."""

    pid: int
    connection: socket.socket
    calls: int = 0
    is_idle: bool = False
    end: str | None = None  # the signal or status that ended it

    def __enter__(self) -> _Child:
        self.calls += 1
        self.is_idle = False
        return self

    def __exit__(self, *_: object) -> None:
        if not (self.is_idle and _SERVER.keep(self)):
            self.stop()

    def is_alive(self) -> bool:
        """Whether an idle child still waits for calls."""
        with suppress(BlockingIOError):
            self.connection.setblocking(False)
            self.connection.recv(1)
            return False
        return True

    def stop(self) -> str:
        """End the child if it runs; return the signal or status that ended it."""
        if self.end is None:
            self.connection.close()
            self.end = _SERVER.reap(self.pid)
        return self.end


class _Server:
    """The server process of this process; it starts at the first call and again if it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.forget()

    def forget(self) -> None:
        """Start another server at the next call: a forked process must not share the connection of its parent."""
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._idle: list[_Child] = []

    def keep(self, child: _Child) -> bool:
        """Keep a child for further calls; False if it has served enough of them, or enough others are kept."""
        if child.calls >= CALLS or len(self._idle) >= IDLE_CHILDREN:
            return False
        self._idle.append(child)
        return True

    def child(self, module: str, reuse: bool) -> _Child:
        """Return an idle child, with `reuse`, or a new one for a call of a function of a module."""
        while reuse and self._idle:
            with suppress(IndexError):
                child = self._idle.pop()
                if self._process is not None and self._process.poll() is None and child.is_alive():
                    return child
                child.stop()
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            for _ in range(2):
                with suppress(OSError):
                    return _Child(self._exchange(module.encode(), [theirs.fileno()]), ours)
        ours.close()
        raise WorkError("cannot start a process that reads files; free memory or raise the limit of processes")

    def reap(self, pid: int) -> str:
        """End a child; return the signal or status that ended it."""
        with self._lock, suppress(OSError):
            status = os.waitstatus_to_exitcode(self._exchange(_INTEGER.pack(pid)))
            return signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return "its server died"

    def close(self) -> None:
        """End the server and its children."""
        for child in self._idle:
            child.connection.close()
        self._idle.clear()
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait()
        self._control = self._process = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        paths = os.pathsep.join(path for path in sys.path if path)
        with theirs:
            # In its own process group, Ctrl-C reaches only the command, which ends the server by closing its end.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVER_CODE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,
            )
        return ours

    def _exchange(self, message: bytes, descriptors: Sequence[int] = ()) -> int:
        """Send a request and return the answer; a server that fails, or a wait that is interrupted, ends the server."""
        try:
            self._control = self._control or self._start()
            socket.send_fds(self._control, [message], descriptors)
            answer = self._control.recv(_INTEGER.size, socket.MSG_WAITALL)
            if not answer:
                raise ConnectionError
            return int(_INTEGER.unpack(answer)[0])
        except BaseException:
            self.close()
            raise


_SERVER = _Server()
atexit.register(_SERVER.close)
os.register_at_fork(after_in_child=_SERVER.forget)
