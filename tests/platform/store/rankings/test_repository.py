from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.old_rankings import make_old
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import QUERIES, RANKING
from vestigo_models.errors import StoreError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s") as opened:
        opened.models.register(MODEL, name="fake", location="nowhere")
        yield opened


def ranked(*rows: tuple[str, int, str, float]) -> pa.Table:
    columns = dict(zip(("query", "rank", "crop", "distance"), map(list, zip(*rows, strict=True)), strict=True))
    unknown = {"pid": [None] * len(rows), "camera": ["c1"] * len(rows)}
    return pa.table(columns | unknown, schema=RANKING)


def requests(**rows: int) -> pa.Table:
    more = {"own": 0, "matches": [{"camera": "c1", "crops": 2}]}
    return pa.Table.from_pylist([{"query": name, "rows": count} | more for name, count in rows.items()], QUERIES)


def test_rankings_are_kept_under_a_name(store: Store) -> None:
    table, queries = ranked(("q", 1, "a", 0.25), ("q", 2, "b", 0.5)), requests(q=2)
    rows = store.rankings.save(
        "night", model=MODEL, rows=iter(table.to_batches()), queries=queries, settings={"top": 2}
    )
    kept = store.rankings.get("night")
    assert (rows, kept.model, kept.queries, kept.rows, kept.settings) == (2, MODEL, 1, 2, {"top": 2})
    assert pa.Table.from_batches(store.rankings.scan(kept)).equals(table)
    assert pa.Table.from_batches(store.rankings.scan_queries(kept)).equals(queries)
    assert store.rankings.save("night", model=MODEL, rows=iter(()), queries=iter(()), settings={}) == 0
    assert list(store.rankings.scan(store.rankings.get("night"))) == []
    assert pa.Table.from_batches(store.rankings.scan(kept)).equals(table)
    assert [(ranking.name, ranking.queries) for ranking in store.rankings.list()] == [("night", 0)]
    assert store.check().problems == ()
    assert store.vacuum(now=True).files == 2
    with pytest.raises(StoreError, match=r"file .* of the store cannot be read"):
        list(store.rankings.scan(kept))
    with pytest.raises(StoreError, match=r"ranking day is not in the store; its rankings are: night"):
        store.rankings.get("day")
    with pytest.raises(StoreError, match=r"rows do not fit a file of ranking: column rank is missing"):
        store.rankings.save("bad", model=MODEL, rows=table.drop_columns(["rank"]), queries=queries, settings={})
    with pytest.raises(StoreError, match=r"rows do not fit a file of queries: column own is missing"):
        store.rankings.save("bad", model=MODEL, rows=table, queries=queries.drop_columns(["own"]), settings={})


def test_selected_rows_of_ranking_read_only_their_row_groups(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"q{number:05}" for number in range(12_500)]
    rows = ranked(*((name, rank, f"{name}-{rank}", rank / 4) for name in names for rank in (1, 2)))
    store.rankings.save("many", model=MODEL, rows=rows, queries=requests(**dict.fromkeys(names, 2)), settings={})
    kept = store.rankings.get("many")
    read: list[int] = []
    batches = pq.ParquetFile.iter_batches

    def watched(file: pq.ParquetFile, *sizes: int, row_groups: list[int], **more: Any) -> Any:
        read.extend(row_groups)
        return batches(file, *sizes, row_groups=row_groups, **more)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    selected = store.rankings.rows(kept, [20_003, 5, 4, 20_002], ["crop", "pid"])
    assert [row["crop"] for row in selected] == ["q00002-1", "q00002-2", "q10001-1", "q10001-2"]
    assert read == [0, 2]
    assert [row["query"] for row in store.rankings.queries(kept, [12_499, 0], ["query"])] == ["q00000", "q12499"]


def test_rankings_older_than_their_truth_stay_readable(store: Store) -> None:
    old = ranked(("q", 1, "a", 0.25), ("q", 2, "b", 0.5))
    store.rankings.save("old", model=MODEL, rows=old, queries=requests(q=2), settings={})
    make_old(store, "old")
    kept = store.rankings.get("old")
    assert (kept.queries, kept.rows, kept.settings, kept.queries_path) == (1, 2, {}, None)
    assert [row["crop"] for batch in store.rankings.scan(kept) for row in batch.to_pylist()] == ["a", "b"]
    assert [row["crop"] for row in store.rankings.rows(kept, [1], ["crop"])] == ["b"]
    assert list(store.rankings.scan_queries(kept)) == store.rankings.queries(kept, [0], ["query"]) == []
    with pytest.raises(StoreError, match="ranking old has no truth, it comes from an older Vestigo: rank again"):
        store.rankings.rows(kept, [0], ["pid"])
    assert store.check().problems == ()
