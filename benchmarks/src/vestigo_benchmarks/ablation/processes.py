"""Run cells of an ablation in parallel processes; a cell that fails or dies leaves the others alone."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from vestigo_benchmarks.ablation.cell import AblationCell, run_cell
from vestigo_models.errors import VestigoError, first_line


@dataclass(frozen=True, kw_only=True)
class CellFailure:
    """Why a cell has no result."""

    config: str
    seed: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class CellEvent:
    """A cell has finished its `epoch`, or (`epoch` None) has ended, with a result or with a `failure`."""

    cell: AblationCell
    epoch: int | None = None
    failure: CellFailure | None = None


def run_cells(cells: Sequence[AblationCell], jobs: int) -> Generator[CellEvent, None, None]:
    """Run cells in their order, `jobs` at a time, and yield their epochs and ends.

    Closing the iterator ends the processes; their checkpoints stay.
    """
    waiting = list(reversed(cells))
    running: dict[Connection, tuple[AblationCell, BaseProcess, list[str]]] = {}
    processes = multiprocessing.get_context("spawn")
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop()
                ours, theirs = processes.Pipe(duplex=False)
                started = processes.Process(target=_run_in_process, args=(cell, theirs), daemon=True)
                started.start()
                theirs.close()
                running[ours] = (cell, started, [])
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                cell, process, errors = running[connection]
                try:
                    message = connection.recv()
                except EOFError:
                    del running[connection]
                    connection.close()
                    process.join()
                    yield CellEvent(cell=cell, failure=_failure(cell, process.exitcode, errors))
                    continue
                if isinstance(message, int):
                    yield CellEvent(cell=cell, epoch=message)
                else:
                    errors.append(message)
    finally:
        for _, process, _ in running.values():
            process.terminate()
        for connection, (_, process, _) in running.items():
            process.join()
            connection.close()


def _failure(cell: AblationCell, status: int | None, errors: Sequence[str]) -> CellFailure | None:
    if cell.is_done:
        return None
    reason = errors[-1] if errors else f"its process died (exit status {status}); see the system's log for memory"
    return CellFailure(config=cell.config, seed=cell.seed, reason=reason)


def _run_in_process(cell: AblationCell, connection: Connection) -> None:
    """Run a cell and send its finished epochs as numbers, or an error as text."""
    # Ctrl-C reaches every process of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run_cell(cell, connection.send)
    except BrokenPipeError:
        # The parent has ended. The checkpoint is written.
        raise SystemExit(1) from None
    except VestigoError as error:
        connection.send(str(error))
        raise SystemExit(1) from error
    except Exception as error:
        connection.send(f"{type(error).__name__}: {first_line(error)}")
        raise SystemExit(1) from error
    finally:
        connection.close()
