"""Floor 2: datasets, store, retrieval, evaluation, review and promotion; its public API is `vestigo.api`."""

from typing import Any

__all__ = ["LoadedModel", "evaluate", "load_dataset", "load_model", "open_store", "precision", "search"]


def __getattr__(name: str) -> Any:
    """Import the public API on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vestigo import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
