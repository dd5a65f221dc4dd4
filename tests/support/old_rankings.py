"""Rankings as they were before their queries and the truth were kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq

from tests.support.fake_pipeline import START
from vestigo.store.location import locate
from vestigo.store.open import Store
from vestigo.store.sql.database import Database
from vestigo.store.sql.tables import DataFileRow, RankingRow


def make_old(store: Store, name: str) -> None:
    """Turn a ranking into one of a Vestigo that kept neither queries, truth nor settings."""
    path = Path(store.data) / store.rankings.get(name).path
    pq.write_table(pq.read_table(path).select(["query", "rank", "crop", "distance"]), path)
    database = Database(locate(store.ref, create=False).database)
    with database.write() as session:
        row = session.get_one(RankingRow, name)
        queries = session.get_one(DataFileRow, row.queries_file_id)
        queries.state, queries.retired = "retired", START
        row.queries_file_id, row.settings = None, {}
        file = session.get_one(DataFileRow, row.data_file_id)
        file.schema_version, file.bytes = 1, path.stat().st_size
        file.checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    database.close()
