"""Cells of an ablation in processes of their own, so many side by side; one that fails or dies takes no other along."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from vestigo_models.errors import VestigoError, first_line
from vestigo_workers.ablation.cell import Cell, run_cell


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a cell has no result."""

    config: str
    seed: int
    reason: str


def run_side_by_side(
    cells: Sequence[Cell],
    jobs: int,
    *,
    epoch: Callable[[Cell, int], None] = lambda cell, epoch: None,
    ended: Callable[[Cell, Failure | None], None] = lambda cell, failure: None,
) -> None:
    """Run cells in their order, `jobs` at a time; `epoch` and `ended` hear of each of them, in this process.

    When this process is interrupted, the others are ended too; their checkpoints stay.
    """
    waiting = list(reversed(cells))
    running: dict[Connection, tuple[Cell, BaseProcess, list[str]]] = {}
    processes = multiprocessing.get_context("spawn")
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop()
                ours, theirs = processes.Pipe(duplex=False)
                started = processes.Process(target=_work, args=(cell, theirs), daemon=True)
                started.start()
                theirs.close()
                running[ours] = (cell, started, [])
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                cell, process, said = running[connection]
                try:
                    message = connection.recv()
                except EOFError:
                    del running[connection]
                    connection.close()
                    process.join()
                    ended(cell, _failure(cell, process.exitcode, said))
                    continue
                if isinstance(message, int):
                    epoch(cell, message)
                else:
                    said.append(message)
    finally:
        for _, process, _ in running.values():
            process.terminate()
        for connection, (_, process, _) in running.items():
            process.join()
            connection.close()


def _failure(cell: Cell, status: int | None, said: Sequence[str]) -> Failure | None:
    if cell.done:
        return None
    reason = said[-1] if said else f"its process died (exit status {status}); see the system's log for memory"
    return Failure(config=cell.config, seed=cell.seed, reason=reason)


def _work(cell: Cell, connection: Connection) -> None:
    """In a process of its own: numbers are epochs, a text is why it failed."""
    # Ctrl-C reaches every process of a terminal; the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run_cell(cell, connection.send)
    except BrokenPipeError:
        # Nobody listens any more: the process that started this one is gone. The checkpoint is written.
        raise SystemExit(1) from None
    except VestigoError as error:
        connection.send(str(error))
        raise SystemExit(1) from error
    except Exception as error:
        connection.send(f"{type(error).__name__}: {first_line(error)}")
        raise SystemExit(1) from error
    finally:
        connection.close()
