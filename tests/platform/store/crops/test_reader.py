"""Reading some crops of a model: what a scan would find of them, without reading the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_pipeline import MODEL, begin, crop, crop_table, images
from vestigo.store.open import Store
from vestigo.store.parquet.files import DataRoot
from vestigo.store.runs.records import InputOutcome
from vestigo_models.errors import StoreError


def test_picked_rows_equal_scan(tmp_path: Path) -> None:
    rows = [crop(f"{number}.jpg") for number in range(2300)]
    parts = rows[:2100], rows[2100:2101], rows[2101:]
    with Store.open(tmp_path / "s") as store:
        run = begin(store)
        store.shards.plan(
            run.id, [images(*(row["input"] for row in part), source=str(n)) for n, part in enumerate(parts)]
        )
        store.runs.take_lease(run.id)
        for task, part in zip(store.shards.pending(run.id, limit=3), parts, strict=True):
            file = DataRoot(store.data).write("crops", run.id, task.id, crop_table(part))
            store.shards.commit(
                task.id, files=[file], outcomes=[InputOutcome(n, "done", rows=1) for n in range(len(part))]
            )
        store.runs.finish(run.id, "succeeded")
        store.cameras.set_clock_offset("c1", 90.0)
        columns = ("crop_id", "time", "camera", "embedding", "model")
        wanted = {row["crop_id"] for row in (rows[7], rows[1500], rows[2100], rows[2299], rows[2200])} | {"0" * 20}
        every = [row for batch in store.crops.scan(columns, model=MODEL) for row in batch.to_pylist()]
        picked = [row for batch in store.crops.select(wanted, columns, model=MODEL) for row in batch.to_pylist()]
        assert picked == [row for row in every if row["crop_id"] in wanted]
        assert len(picked) == 5
        assert list(store.crops.select([], columns, model=MODEL)) == []
        with pytest.raises(StoreError, match="no column colour"):
            list(store.crops.select(wanted, ("colour",), model=MODEL))
        with pytest.raises(StoreError, match="holds no crops of model"):
            store.crops.select(wanted, columns, model="b" * 64)
