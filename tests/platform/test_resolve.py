"""Which model a reference names: shipped ones, and those of a store that recorded `default`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_gallery import START
from vestigo.resolve import locate_model, open_model, open_registered, resolve_digest, resolve_index_model
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


class Registry:
    """The registry of a store whose newest crops are of one model."""

    def __init__(self, model: Model | None) -> None:
        self.models = self
        self.known = [] if model is None else [model]

    def serving(self) -> None:
        return None

    def list(self) -> list[Model]:
        return self.known

    def crop_counts(self) -> dict[str, int]:
        return {model.digest: 5 for model in self.known}

    def find(self, ref: str) -> Model | None:
        return next((model for model in self.known if ref in (model.name, model.digest)), None)


@pytest.mark.parametrize("name", SHIPPED)
def test_index_goes_on_with_the_shipped_model_of_the_crops(name: str) -> None:
    package = ModelPackage.from_pretrained(name)
    model = Model(package.digest, name, "default", START, ModelFacts.of(package))
    place = resolve_index_model(Registry(model), None)
    assert place is not None
    assert ModelPackage.from_pretrained(place).digest == package.digest


def test_index_takes_the_default_without_crops_of_a_shipped_model() -> None:
    facts = ModelFacts.of(ModelPackage.from_pretrained("tiny"))
    assert resolve_index_model(Registry(None), None) is None
    assert resolve_index_model(Registry(Model("c" * 64, "tiny", "default", START, facts)), None) is None
    assert resolve_index_model(Registry(Model("c" * 64, "mine", "/mine", START, facts)), None) is None
