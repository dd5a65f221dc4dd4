"""A warm search answers as a fresh one, whatever has changed in the store since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.random_models import random_model
from tests.ui.conftest import Archive
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import feature_columns
from vestigo.store.parquet.schemas import crop_schema
from vestigo.store.runs.records import InputOutcome, InputPlan, ShardPlan
from vestigo_models.errors import StoreError, UsageError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import decode_image
from vestigo_models.inference.package import ModelPackage
from vestigo_ui.cli.options import ArchivePart, SearchedModel
from vestigo_ui.search import warm as module
from vestigo_ui.search.request import QueryImage, SearchRequest
from vestigo_ui.search.warm import WarmSearch


@pytest.fixture
def store(archive: Archive) -> Iterator[Store]:
    with Store.open(archive.store) as store:
        yield store


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests of the models that were loaded."""
    digests: list[str] = []
    open_encoder = module.open_encoder

    def load(*arguments: Any) -> Extractor:
        encoder = open_encoder(*arguments)
        digests.append(encoder.package.digest)
        return encoder

    monkeypatch.setattr(module, "open_encoder", load)
    return digests


def image_request(archive: Archive, **options: Any) -> SearchRequest:
    data = archive.crops[0]["image"]
    return SearchRequest(images=(QueryImage(name="image 1", data=data, is_upload=True),), **options)


def plain(warm: WarmSearch, request: SearchRequest) -> dict[str, Any]:
    answer = warm.answer(request)
    return {"snapshot": answer.snapshot, **answer.to_json(), "seconds": 0}


def index_again(store: Store, archive: Archive, package: ModelPackage, rows: list[dict[str, Any]], place: str) -> None:
    """Index crops of the archive as another run, by a model in the folder `place`."""
    outputs = Extractor(package).extract([decode_image(row["image"]) for row in rows])
    columns = feature_columns(outputs.descriptors, outputs.probabilities, outputs.areas)
    rows = [row | {name: column[number].as_py() for name, column in columns.items()} for number, row in enumerate(rows)]
    store.models.register(package.digest, name=package.name, location=place, facts=ModelFacts.of(package))
    run = store.runs.create(fingerprint=package.digest, config={}, model=package.digest, command="test")
    names = sorted({row["input"] for row in rows})
    store.shards.plan(run.id, [ShardPlan("images", place, None, {}, tuple(InputPlan(name, name) for name in names))])
    store.runs.take_lease(run.id)
    (task,) = store.shards.pending(run.id, 1)
    table = pa.Table.from_pylist(rows, schema=crop_schema(package.embedding_dim))
    file = store.root.write("crops", run.id, task.id, table)
    counts = [sum(row["input"] == name for row in rows) for name in names]
    store.shards.commit(
        task.id, files=[file], outcomes=[InputOutcome(place, "done", count) for place, count in enumerate(counts)]
    )
    store.runs.finish(run.id, "succeeded")


def test_network_is_loaded_once(store: Store, archive: Archive, loaded: list[str]) -> None:
    warm = WarmSearch(store, "cpu")
    warm.load()
    results = [plain(warm, image_request(archive)) for _ in range(3)]
    named = plain(warm, image_request(archive, searched=SearchedModel(model="default")))
    assert len(loaded) == 1
    assert results == [plain(WarmSearch(store, "cpu"), image_request(archive))] * 3
    assert named == results[0]


def test_corrected_clock_counts_at_once(store: Store, archive: Archive) -> None:
    warm = WarmSearch(store, "cpu")
    request = SearchRequest(crops=(archive.crops[0]["crop_id"],), part=ArchivePart(since="2026-05-01T08:00:02"))
    before = plain(warm, request)
    store.cameras.set_clock_offset("gate", 3600.0)
    after = plain(warm, request)
    assert after["compared"] > before["compared"]
    assert after == plain(WarmSearch(store, "cpu"), request)


def test_new_run_and_promoted_model_count_at_once(
    store: Store, archive: Archive, tmp_path: Path, loaded: list[str]
) -> None:
    warm = WarmSearch(store, "cpu")
    before = plain(warm, image_request(archive))
    place = random_model(tmp_path / "other", name="other")
    other = ModelPackage.from_pretrained(place)
    index_again(store, archive, other, archive.crops[:5], str(place))
    with pytest.raises(StoreError, match="crops of different models are never compared"):
        warm.answer(image_request(archive))
    for model in ("other", before["model"]):
        request = image_request(archive, searched=SearchedModel(model=model))
        assert plain(warm, request) == plain(WarmSearch(store, "cpu"), request)
    assert plain(warm, image_request(archive, searched=SearchedModel(model="other")))["compared"] == 5
    assert loaded.count(other.digest) == 2  # by the warm search, and by the fresh one


def test_number_of_networks_is_bounded(
    store: Store, archive: Archive, tmp_path: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ENCODERS", 1)
    warm = WarmSearch(store, "cpu")
    place = random_model(tmp_path / "other", name="other")
    index_again(store, archive, ModelPackage.from_pretrained(place), archive.crops[:5], str(place))
    for model in ("other", "default", "other", "other"):
        warm.answer(image_request(archive, searched=SearchedModel(model=model)))
    assert len(loaded) == 3


def test_pixels_of_all_images_are_limited(store: Store, archive: Archive) -> None:
    images = tuple(
        QueryImage(name=f"image {number}", data=archive.crops[0]["image"], is_upload=True) for number in (1, 2)
    )
    height, width = decode_image(archive.crops[0]["image"]).shape[:2]
    warm = WarmSearch(store, "cpu")
    assert warm.answer(SearchRequest(images=images, max_pixels=2 * height * width)).result.hits
    with pytest.raises(UsageError, match=r"image 2: .*pixels, more than"):
        warm.answer(SearchRequest(images=images, max_pixels=2 * height * width - 1))
