"""Which model a reference names: shipped ones, and those of a store that recorded `default`."""

from __future__ import annotations

from pathlib import Path

import pytest

from vestigo.resolve import locate_model, open_model, open_registered, resolve_digest
from vestigo.store.models.records import Model, ModelFacts
from vestigo.store.open import Store
from vestigo_models.errors import ModelError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.shipped import SHIPPED


def register(store: Store, package: ModelPackage, location: str, digest: str = "") -> Model:
    facts = ModelFacts.of(package)
    store.models.register(digest or package.digest, name=package.name, location=location, facts=facts)
    model = store.models.find(digest or package.digest)
    assert model is not None
    return model


@pytest.mark.parametrize("name", SHIPPED)
def test_store_that_recorded_default_finds_its_model_again(tmp_path: Path, name: str) -> None:
    package = ModelPackage.from_pretrained(name)
    with Store.open(tmp_path / "s") as store:
        assert open_registered(register(store, package, "default")).digest == package.digest


def test_changed_default_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s") as store:
        model = register(store, ModelPackage.from_pretrained("default"), "default", "c" * 64)
        with pytest.raises(ModelError, match="has changed since it was registered"):
            open_registered(model)


def test_registered_model_comes_before_a_shipped_one_of_its_name(tmp_path: Path) -> None:
    name = SHIPPED[-1]
    shipped = ModelPackage.from_pretrained(name)
    with Store.open(tmp_path / "s") as store:
        assert open_model(store, name).digest == shipped.digest
        assert locate_model(store, name) == name
        other = shipped.with_calibration(None)
        other.save_pretrained(tmp_path / "other")
        register(store, other, str(tmp_path / "other"))
        assert resolve_digest(store, name) == other.digest != shipped.digest
        assert locate_model(store, name) == str(tmp_path / "other")
        assert resolve_digest(store, "default") == ModelPackage.from_pretrained("default").digest
