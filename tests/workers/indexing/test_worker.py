from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.fake_pipeline import crop, crop_table
from tests.support.random_models import random_model
from vestigo.ingest.crops import whole_image_id
from vestigo.ingest.inputs import ImageInput, Locator
from vestigo.store.open import Store
from vestigo.store.runs.records import ShardTask
from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import ModelError, WorkError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_workers.indexing.request import IndexRequest
from vestigo_workers.indexing.run import index
from vestigo_workers.indexing.worker import ShardFiles, whole_image
from vestigo_workers.runs.result import RunResult


def test_id_of_whole_image_depends_on_name_and_content() -> None:
    data = encode_jpeg(np.random.default_rng(0).integers(0, 255, (40, 17, 3), np.uint8))
    item = ImageInput("query/0001.jpg", hashlib.sha256(data).hexdigest(), Locator("file", "0001.jpg"), "c1")
    stored = whole_image(item, decode_image(data))
    assert stored.crop_id == whole_image_id("query/0001.jpg", data, (40, 17))
    assert stored.crop_id != whole_image_id("query/0002.jpg", data, (40, 17))


def index_images(folder: Path, model: Path, names: Sequence[str]) -> tuple[Store, RunResult]:
    for shade, name in enumerate(names):
        picture = np.random.default_rng(shade).integers(0, 255, (96, 48, 3), np.uint8)
        (folder / "crops").mkdir(exist_ok=True)
        (folder / "crops" / name).write_bytes(encode_jpeg(picture))
    store = Store.open(folder / "store")
    request = IndexRequest(
        sources=(str(folder / "crops"),), model=str(model), executor="inline", device="cpu", detector="none"
    )
    return store, index(store, request)


def test_input_whose_numbers_are_not_finite_is_quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract = Extractor.extract

    def fail_for_second(self: Extractor, crops: Sequence[UInt8Array]) -> CropFeatures:
        features = extract(self, crops)
        if len(crops) == 3:
            features.descriptors.vectors[1, 2] = np.inf
        return features

    monkeypatch.setattr(Extractor, "extract", fail_for_second)
    model = random_model(tmp_path / "model", name="mine")
    store, result = index_images(tmp_path, model, ["a.jpg", "b.jpg", "c.jpg"])
    with store:
        assert (result.totals.done, result.totals.quarantined, result.totals.crops) == (2, 1, 2)
        (failure,) = store.runs.failures(result.run.id)
        assert (failure.input, failure.reason) == ("b.jpg", "not-finite")
        assert "model mine computes numbers that are not finite" in failure.detail
        assert store.check().intact


def test_model_without_finite_numbers_ends_the_run_with_its_name(tmp_path: Path) -> None:
    model = random_model(tmp_path / "model", name="broken")
    weights = load_file(model / "model.safetensors")
    broken = {name: value * torch.nan if value.is_floating_point() else value for name, value in weights.items()}
    save_file(broken, model / "model.safetensors")
    with pytest.raises(ModelError, match=r"^model broken computes numbers that are not finite"):
        index_images(tmp_path, model, ["a.jpg"])
    with Store.open(tmp_path / "store") as store:
        (run,) = store.runs.list()
        assert run.status == "failed"
        assert run.error is not None
        assert run.error.startswith("model broken")


def test_missing_bucket_is_reported_without_key(bucket: str) -> None:
    task = ShardTask(id=1, run_id="run", kind="images", source="archive", after=None, spec={}, attempts=0, inputs=())
    files = ShardFiles(bucket.replace("bucket/archive", "gone").replace("creation=true", "creation=false"))
    with pytest.raises(WorkError, match=r"^cannot write to s3://gone: ") as error:
        files.write("crops", task, crop_table([crop("a")]))
    assert "secret" not in str(error.value)
