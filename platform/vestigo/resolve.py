"""Resolve which model a command uses.

A *reference* names a model: `default`, a shipped model, a package folder, `hub:ID`, or an entry of the store's registry
by its name, its digest or at least the first 6 digits of it. A command without a reference follows one of these rules:

- Index: the serving model, else the shipped model that the store's newest crops are of, since another version may have
  had another default, else `default` (`resolve_index_model`). Repeating stale runs: the serving model,
  else the newest with crops (`resolve_reindex_model`).
- Search and review: a search answers with the serving model, else with the newest that has crops, and refuses if the
  gallery also holds crops of other models, because an answer from part of the gallery would look complete. A promoted
  model without crops does not answer yet: the one before it does, until the archive is indexed again
  (`resolve_search_model`). Review and export take the serving model if it has crops, else the newest with crops
  (`resolve_review_model`).
- Retrain: the reference is required. Replayed crops are those of the base model if it has crops, else those that review
  shows (`resolve_replay_model`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vestigo.store.models.records import Model
from vestigo_models.errors import ModelError, StoreError, UsageError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.shipped import SHIPPED, shipped_name

if TYPE_CHECKING:
    from vestigo.store.models.repository import ModelRepository
    from vestigo_models.inference.package import ModelPackage


class ModelRegistry(Protocol):
    """A store with registered models."""

    @property
    def models(self) -> ModelRepository:
        """The registered models."""
        ...


def is_package(ref: str) -> bool:
    """Return whether a reference is the place of a package and not a name of the registry."""
    return shipped_name(ref) is not None or ref.startswith("hub:") or (Path(ref) / "config.json").is_file()


def find_registered(registry: ModelRegistry, ref: str) -> Model:
    """Return the model of a name, a digest or its first 6 digits; raise ModelError for none, StoreError for several."""
    model = registry.models.find(ref)
    if model is None:
        known = ", ".join(map(_label, registry.models.list())) or "no model"
        raise ModelError(
            f"model {ref!r}: no package folder, and not in the registry of the store, which holds {known}; give one of "
            "these, `default`, a folder or `hub:ID`"
        )
    return model


def open_model(registry: ModelRegistry, ref: str) -> ModelPackage:
    """Load the model of a reference; raises as `find_registered` and `open_registered`."""
    from vestigo_models.inference.package import ModelPackage

    if _is_registered(registry, ref):
        return open_registered(find_registered(registry, ref))
    return ModelPackage.from_pretrained(ref)


def open_registered(model: Model) -> ModelPackage:
    """Load a model of the registry; raise ModelError if its package is missing or has changed since."""
    from vestigo_models.inference.package import ModelPackage

    try:
        package = ModelPackage.from_pretrained(_place(model))
    except ModelError:
        raise ModelError(
            f"model {model.name} of the store is no longer at {model.location}; give its place with --model"
        ) from None
    if package.digest != model.digest:
        raise ModelError(
            f"the model at {model.location} has changed since it was registered ({model.digest[:12]} then, "
            f"{package.digest[:12]} now); give the place of the old one with --model, or index again"
        )
    return package


def _place(model: Model) -> str:
    """Return where the package of a registered model is.

    Stores of earlier versions call the default of their time `default`; it is known by its digest.
    """
    from vestigo_models.inference.package import ModelPackage

    if model.location != "default":
        return model.location
    return next((name for name in SHIPPED if ModelPackage.from_pretrained(name).digest == model.digest), "default")


def locate_model(registry: ModelRegistry, ref: str) -> str:
    """Return the place of a reference's package: a shipped model, a folder or `hub:ID`. Raises as `open_model`."""
    if not _is_registered(registry, ref):
        return ref
    model = find_registered(registry, ref)
    open_registered(model)
    return _place(model)


def resolve_digest(registry: ModelRegistry, ref: str) -> str:
    """Return the digest of a reference's model; a registered package is not read. Raises as `open_model`."""
    return (find_registered if _is_registered(registry, ref) else open_model)(registry, ref).digest


def resolve_index_model(registry: ModelRegistry, ref: str | None) -> str | None:
    """Return the place of the model to index with, None for the default package. Raises as `open_model`."""
    if ref is None:
        ref = registry.models.serving() or _shipped_in_use(registry)
    return None if ref is None else locate_model(registry, ref)


def resolve_reindex_model(registry: ModelRegistry) -> Model:
    """Return the model that stale runs are repeated with; raise StoreError if nothing is indexed."""
    serving = registry.models.serving()
    return registry.models.with_crops()[0] if serving is None else find_registered(registry, serving)


def resolve_search_model(registry: ModelRegistry, digest: str | None = None) -> Model:
    """Return the model that answers a search: that of a digest, else the serving one, else the newest with crops.

    Raises:
        StoreError: If nothing is indexed, if the model of the digest has no crops, or, without a digest, if the store
            holds crops of several models.
    """
    if digest is not None:
        return require_crops(registry, digest)
    serving, counts, models = registry.models.serving(), registry.models.crop_counts(), registry.models.list()
    if not models:
        raise StoreError("the store is empty; fill it with: vestigo index SOURCE --store STORE")
    indexed = [model for model in models if model.digest in counts]
    if serving is not None and serving not in counts and indexed:
        # The last model with crops that served before the serving one.
        earlier = (promotion.before for promotion in reversed(registry.models.promotions()))
        serving = next((digest for digest in earlier if digest in counts), None)
    current = next((model for model in models if model.digest == serving), (indexed or models)[0])
    if others := [model for model in indexed if model.digest != current.digest]:
        held = ", ".join(f"{counts[model.digest]} of {_label(model)}" for model in others)
        rule = "the serving model" if current.digest == serving else "the newest"
        raise StoreError(
            f"the store holds {counts.get(current.digest, 0)} crops of {_label(current)}, {rule}, and {held}; crops of "
            "different models are never compared: index the others again (vestigo index --reindex-stale --store "
            "STORE), or search one version with --model"
        )
    return current


def resolve_review_model(registry: ModelRegistry, ref: str | None = None) -> Model:
    """Return the model whose crops are reviewed; raises as `resolve_digest` and `require_crops`."""
    return registry.models.with_crops()[0] if ref is None else require_crops(registry, resolve_digest(registry, ref))


def resolve_replay_model(registry: ModelRegistry, base: str) -> Model:
    """Return the model whose crops are replayed: that of the digest `base` if it has crops, else as for review."""
    models = registry.models.with_crops()
    return next((model for model in models if model.digest == base), models[0])


def require_crops(registry: ModelRegistry, digest: str) -> Model:
    """Return the model with a digest; raise StoreError if the store holds no crops of it."""
    counts = registry.models.crop_counts()
    indexed = {model.digest: model for model in registry.models.list() if model.digest in counts}
    if digest not in indexed:
        known = ", ".join(map(_label, indexed.values())) or "no crops"
        raise StoreError(
            f"the store holds no crops of model {digest[:12]}; it holds {known}: choose one of them with --model, or "
            "index with this one"
        )
    return indexed[digest]


def require_attributes(model: Model) -> AttributeSchema:
    """Return the schema of the attributes that a model predicts; raise UsageError if it predicts none."""
    if model.facts.attributes is None:
        raise UsageError(
            f"model {_label(model)} of the store predicts no attributes, which --where and --filter need; leave them "
            "out, or index with a model that was trained with attributes"
        )
    return model.facts.attributes


def _shipped_in_use(registry: ModelRegistry) -> str | None:
    """Return the shipped model that the newest crops are of, None for no crops or another model."""
    from vestigo_models.inference.package import ModelPackage

    counts = registry.models.crop_counts()
    model = next((model for model in registry.models.list() if model.digest in counts), None)
    if model is None or model.name not in SHIPPED or ModelPackage.from_pretrained(model.name).digest != model.digest:
        return None
    return model.name


def _is_registered(registry: ModelRegistry, ref: str) -> bool:
    """Return whether a reference is looked up in the registry; its models come before shipped ones of the same name."""
    return not is_package(ref) or (ref in SHIPPED and registry.models.find(ref) is not None)


def _label(model: Model) -> str:
    return f"{model.name} ({model.digest[:12]})"
