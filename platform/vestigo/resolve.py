"""From what people call a model to its package: `default`, a folder, `hub:ID`, else what the registry calls it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vestigo.store.runs.records import Model
from vestigo_models.errors import ModelError
from vestigo_models.inference.package import CONFIG, HUB_PREFIX, ModelPackage

if TYPE_CHECKING:
    from vestigo.store.open import Store


class Registry(Protocol):
    """The part of `vestigo.store.Store` that knows models."""

    def models(self) -> list[Model]:
        """Models, newest first."""
        ...

    def find_model(self, ref: str) -> Model | None:
        """The model of a name, a digest, or the beginning of one."""
        ...


def is_package(ref: str) -> bool:
    """Whether a model is named by where it lies, and not by what the registry calls it."""
    return ref == "default" or ref.startswith(HUB_PREFIX) or (Path(ref) / CONFIG).is_file()


def registered(registry: Registry, ref: str) -> Model:
    """The model that the registry has under a name, a digest, or at least 6 digits that one digest begins with.

    Raises:
        ModelError: it has none.
        StoreError: it has several.
    """
    found = registry.find_model(ref)
    if found is None:
        known = ", ".join(f"{model.name} ({model.digest[:12]})" for model in registry.models()) or "nothing yet"
        raise ModelError(
            f"model {ref!r}: no package folder, and not in the registry of the store, which holds {known}; give one of "
            "these, `default`, a folder or `hub:ID`"
        )
    return found


def open_model(registry: Registry, ref: str) -> ModelPackage:
    """Load the model that people call `ref`.

    Raises:
        ModelError: there is none, or it is no longer what was registered.
        StoreError: the registry has several of that name.
    """
    return ModelPackage.from_pretrained(ref) if is_package(ref) else open_registered(registered(registry, ref))


def locate_model(registry: Registry, ref: str) -> str:
    """Say where the model lies that people call `ref`: `default`, a folder or `hub:ID`.

    Raises:
        ModelError, StoreError: as `open_model`.
    """
    if is_package(ref):
        return ref
    model = registered(registry, ref)
    open_registered(model)
    return model.location


def open_registered(model: Model) -> ModelPackage:
    """Load a model of the registry.

    Raises:
        ModelError: it is not where it was, or is another one by now.
    """
    try:
        package = ModelPackage.from_pretrained(model.location)
    except ModelError:
        raise ModelError(
            f"model {model.name} of the store is not at {model.location} any more; say with --model where it is"
        ) from None
    if package.digest != model.digest:
        raise ModelError(
            f"the model at {model.location} has changed since it was registered ({model.digest[:12]} then, "
            f"{package.digest[:12]} now); say with --model where the old one is, or index again"
        )
    return package


def model_digest(registry: Registry, ref: str) -> str:
    """The digest of the model that people call `ref`; one of the registry need not be where it was.

    Raises:
        ModelError, StoreError: as `open_model` and `registered`.
    """
    return ModelPackage.from_pretrained(ref).digest if is_package(ref) else registered(registry, ref).digest


def reviewed_model(store: Store, ref: str | None) -> Model:
    """The model that `ref` names, else the one that serves, else the newest; it must have crops in the store.

    Raises:
        ModelError, StoreError: there is none.
    """
    from vestigo.search.gallery import require_model

    return store.models_with_crops()[0] if ref is None else require_model(store, model_digest(store, ref))
