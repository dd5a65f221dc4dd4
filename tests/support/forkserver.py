"""A fork server that has imported the store: a process that a test kills costs no new start of Python."""

from __future__ import annotations

import importlib
import multiprocessing

STORE_MODULES = (
    "alembic.command",
    "alembic.config",
    "pandas",
    "pyarrow.pandas_compat",
    "sqlalchemy.dialects.sqlite",
    "vestigo.store.audit.log",
    "vestigo.store.audit.verdicts",
    "vestigo.store.crops.visible",
    "vestigo.store.crops.repository",
    "vestigo.store.maintenance.check",
    "vestigo.store.maintenance.export",
    "vestigo.store.maintenance.vacuum",
    "vestigo.store.models.repository",
    "vestigo.store.open",
    "vestigo.store.rankings.repository",
    "vestigo.store.review.annotations",
    "vestigo.store.review.repository",
    "vestigo.store.runs.shards",
)
"""`Store` and pyarrow import these on first use; here they are imported once for all processes."""


_modules = ["pytest", *STORE_MODULES]


def preloaded_context(*modules: str) -> multiprocessing.context.ForkServerContext:
    """Return a context whose fork server has imported the store, Alembic, pytest and `modules`.

    A process has one fork server: it imports the modules of all callers, not only those of the last.
    """
    _modules.extend(modules)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_modules)
    return context


def preload_store() -> None:
    """Import what `Store` imports on first use, before a process forks children that are killed."""
    for module in STORE_MODULES:
        importlib.import_module(module)
