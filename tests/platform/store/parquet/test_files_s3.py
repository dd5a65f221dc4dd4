from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_pipeline import DIM, crop, crop_table, index
from tests.support.tcp_proxy import tcp_proxy
from vestigo.store import patience
from vestigo.store.open import Store
from vestigo.store.parquet.files import DataRoot, rechunk
from vestigo.store.parquet.schemas import crop_schema
from vestigo_models.errors import StoreError, StoreUnavailable


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_same_store_on_s3(bucket: str, tmp_path: Path) -> None:
    index(tmp_path / "local")
    (tmp_path / "remote.toml").write_text(f'database = "sqlite:///c.sqlite"\ndata = "{bucket}"\n')
    (tmp_path / "remote.toml").chmod(0o600)
    with pytest.raises(StoreError, match=r"s3://bucket"):
        Store.open(tmp_path / "remote.toml")
    DataRoot(bucket.replace("/archive", "")).folder._fs.create_dir("bucket")
    index(tmp_path / "remote.toml")
    with Store.open(tmp_path / "local") as local, Store.open(tmp_path / "remote.toml") as remote:
        here, there = local.check(), remote.check()
        assert there.problems == ()
        assert there.digest == here.digest
        assert remote.crops.get([crop("one.jpg")["crop_id"]], ["image"])[0]["image"] == crop("one.jpg")["image"]
        remote.root.write("crops", "run", 1, crop_table([crop("stray")]))
        assert remote.check().unreferenced == 1
        assert remote.vacuum(now=True).files == 3
        assert remote.check().unreferenced == 0
        assert "secret" not in remote.describe()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_short_outage_of_s3_is_waited_for_and_reported(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[str] = []

    def report_and_restore(message: str, *values: object) -> None:
        reported.append(message % values)
        proxy.restore()

    monkeypatch.setattr(patience.log, "warning", report_and_restore)
    address = re.search(r"127\.0\.0\.1:(\d+)", bucket)
    assert address is not None
    DataRoot(bucket.replace("/archive", "")).folder._fs.create_dir("bucket")
    with tcp_proxy("127.0.0.1", int(address[1])) as proxy:
        root = DataRoot(bucket.replace(address[0], f"127.0.0.1:{proxy.port}"))
        table = crop_table([crop(f"{n}") for n in range(30)])
        written = root.write("crops", "run", 1, table)
        for request in (
            lambda: root.write("crops", "run", 2, table).checksum == written.checksum,
            lambda: [batch.num_rows for batch in root.read(written.path, ["crop_id"], 10)] == [10, 10, 10],
        ):
            proxy.cut()
            assert request()
            line = reported.pop()
            assert re.fullmatch(r"data s3://bucket/archive does not answer \(.*\): trying again for 60 s", line)
        assert not reported


def test_reading_resumes_after_an_outage(tmp_path: Path) -> None:
    root = DataRoot(str(tmp_path))
    root.folder._short_outage = lambda error: "data does not answer"
    fails = iter([False, False, True, False, True, False])

    def read() -> Iterator[int]:
        for number in range(5):
            if next(fails, False):
                raise OSError("cut off")
            yield number

    assert list(root.resumed(read)) == list(range(5))
    root.folder.patience = 0
    fails = iter([True])
    with pytest.raises(StoreUnavailable, match=r"^data does not answer: check that S3 can be reached$"):
        list(root.resumed(read))


def test_batches_and_tables_make_the_same_rows(tmp_path: Path) -> None:
    root = DataRoot(str(tmp_path))
    table = crop_table([crop(f"{n}") for n in range(2500)])
    as_table = root.write("crops", "run", 1, table)
    as_batches = root.write("crops", "run", 2, iter(table.sort_by("crop_id").to_batches(max_chunksize=7)))
    assert (as_table.rows, as_table.bytes, as_table.checksum) == (2500, as_batches.bytes, as_batches.checksum)
    assert as_table.cameras == ("c1", "c2")
    times = table.column("time").to_pylist()
    assert (as_table.first_time, as_table.last_time) == (min(times), max(times))
    parquet = root.open(as_table.path)
    assert parquet.num_row_groups == 3
    parquet.close()
    assert [batch.num_rows for batch in root.read(as_table.path, ["crop_id"], 1000)] == [1000, 1000, 500]
    assert root.write("candidates", "run", 3, iter(()), crop_schema(DIM)).rows == 0


def test_failed_write_leaves_no_file(tmp_path: Path) -> None:
    root = DataRoot(str(tmp_path))

    def broken() -> Iterator[object]:
        yield from crop_table([crop("a")]).to_batches()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        root.write("crops", "run", 1, broken())
    assert list(root.folder.walk()) == []
    with pytest.raises(StoreError, match=r"cannot be read: run `vestigo store check`"):
        root.open("run/crops/none.parquet")


def test_rechunk_keeps_every_row() -> None:
    batches = crop_table([crop(f"{n}") for n in range(50)]).select(["crop_id"]).to_batches(max_chunksize=9)
    everything = [row for batch in batches for row in batch.column(0).to_pylist()]
    for size in (1, 4, 9, 10, 49, 50, 51):
        chunks = [batch.column(0).to_pylist() for batch in rechunk(batches, size)]
        assert [row for chunk in chunks for row in chunk] == everything
        assert all(len(chunk) == size for chunk in chunks[:-1])
    assert list(rechunk([], 5)) == []
