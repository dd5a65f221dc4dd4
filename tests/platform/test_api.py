"""The public Python API."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import vestigo
from tests.support.review_archive import fill, people
from vestigo_models.errors import StoreError, UsageError


def test_import_is_light() -> None:
    code = "import sys, vestigo; print({'torch', 'pandas', 'sqlalchemy', 'pyarrow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_every_public_name_exists() -> None:
    assert {name for name in vestigo.__all__ if callable(getattr(vestigo, name))} == set(vestigo.__all__)
    assert set(vestigo.__all__) <= set(dir(vestigo))
    with pytest.raises(AttributeError, match="nonexistent"):
        vestigo.nonexistent  # noqa: B018


def test_store_gives_data_frames(tmp_path: Path) -> None:
    rows, _ = people(4)
    fill(tmp_path / "store", rows)
    with vestigo.open_store(tmp_path / "store") as store:
        crops = store.crops()
        assert sorted(crops.crop_id) == sorted(row["crop_id"] for row in rows)
        assert "embedding" not in crops.columns
        chosen = store.crops(["crop_id"], since=datetime(2100, 1, 1, tzinfo=UTC))
        assert (list(chosen.columns), len(chosen)) == (["crop_id"], 0)
        assert store.annotations().empty
        assert store.rankings().empty
        with pytest.raises(StoreError, match='Unknown camera "nowhere"'):
            store.crops(["crop_id"], cameras=["nowhere"])
        with pytest.raises(StoreError, match="project spring"):
            store.annotations("spring")
        with pytest.raises(StoreError, match="project spring"):
            vestigo.precision(store, project="spring")
        with pytest.raises(StoreError, match="ranking x"):
            store.rankings("x")


def test_search_is_recorded_in_the_audit_log(tmp_path: Path) -> None:
    rows, _ = people(6)
    fill(tmp_path / "store", rows)
    with vestigo.open_store(tmp_path / "store") as store:
        result = vestigo.search(store, rows[0]["crop_id"], top=3, case="42")
        frame = result.to_frame()
        assert list(frame["crop"]) == [hit.crop for hit in result.hits]
        (entry,) = store.audit.entries()
        assert (entry.action, entry.case, entry.details["query_crops"]) == ("search", "42", [rows[0]["crop_id"]])
        assert len(vestigo.search(store, where="hat=yes", top=2).hits) == 2
        with pytest.raises(UsageError, match="nothing to search for"):
            vestigo.search(store)


def test_model_takes_one_image_or_many() -> None:
    model = vestigo.load_model(device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)
    np.testing.assert_array_equal(model.embed([image, image])[0], model.embed(image)[0])
    attributes = model.attributes(image)
    assert model.schema is not None
    assert len(attributes.columns) == 2 * len(model.schema)
    assert model.regions(image).shape[0] == 1
