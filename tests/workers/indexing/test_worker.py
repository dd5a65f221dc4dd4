from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tests.support.fake_pipeline import crop, crop_table
from vestigo.ingest.crops import whole_image_id
from vestigo.ingest.inputs import ImageInput, Locator
from vestigo.store.runs.records import ShardTask
from vestigo_models.errors import WorkError
from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_workers.indexing.worker import ShardFiles, whole_image


def test_id_of_whole_image_depends_on_name_and_content() -> None:
    data = encode_jpeg(np.random.default_rng(0).integers(0, 255, (40, 17, 3), np.uint8))
    item = ImageInput("query/0001.jpg", hashlib.sha256(data).hexdigest(), Locator("file", "0001.jpg"), "c1")
    stored = whole_image(item, decode_image(data))
    assert stored.crop_id == whole_image_id("query/0001.jpg", data, (40, 17))
    assert stored.crop_id != whole_image_id("query/0002.jpg", data, (40, 17))


def test_missing_bucket_is_reported_without_key(bucket: str) -> None:
    task = ShardTask(id=1, run_id="run", kind="images", source="archive", after=None, spec={}, attempts=0, inputs=())
    files = ShardFiles(bucket.replace("bucket/archive", "gone").replace("creation=true", "creation=false"))
    with pytest.raises(WorkError, match=r"^cannot write to s3://gone: ") as error:
        files.write("crops", task, crop_table([crop("a")]))
    assert "secret" not in str(error.value)
