"""What a model says of crops: as columns and back, in files of both versions; what the catalogue keeps of a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text, update

from tests.support.fake_pipeline import MODEL, crop, crop_table, index
from vestigo.store.location import locate
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import descriptors_of, feature_columns, matrix
from vestigo.store.parquet.files import DataRoot
from vestigo.store.parquet.schemas import SINCE_2
from vestigo.store.sql.database import Database
from vestigo.store.sql.migrate import migrations_folder
from vestigo.store.sql.tables import DataFileRow, ModelRow
from vestigo_models.errors import StoreError
from vestigo_models.inference.distance import Descriptors, packed, unpacked
from vestigo_models.inference.package import ModelPackage, PackageConfig
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.schemas.regions import REGIONS

FACTS = ModelFacts(
    always=3, parts=5, blocks=(8, 8, 47, *[8] * 5), attributes=MARKET_1501, regions=REGIONS, calibration={"a": [1.5]}
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    index(tmp_path / "s")
    with Store.open(tmp_path / "s") as opened:
        yield opened


@pytest.mark.parametrize("parts", [0, 1, 5, 15])
def test_visible_parts_are_bits(parts: int) -> None:
    visible = np.random.default_rng(parts).random((40, parts)) < 0.5
    masks = packed(visible)
    for row, mask in zip(visible, masks.tolist(), strict=True):
        assert mask == sum(2**part for part in range(parts) if row[part])
    np.testing.assert_array_equal(unpacked(masks, parts), visible)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_features_come_back_from_columns(count: int) -> None:
    rng = np.random.default_rng(3)
    descriptors = Descriptors(
        vectors=rng.normal(size=(count, 103)).astype(np.float32), visible=rng.random((count, 5)) < 0.5, always=3
    )
    areas = rng.random((count, 6)).astype(np.float32)
    columns = feature_columns(descriptors, np.empty((count, 0), np.float32), areas)
    features = descriptors_of(columns["embedding"], columns["visible"], FACTS)
    np.testing.assert_array_equal(features.vectors.reshape(count, 103), descriptors.vectors)
    np.testing.assert_array_equal(features.visible, descriptors.visible)
    assert features.always == 3
    assert columns["regions"].to_pylist() == areas.tolist()
    assert columns["attributes"].to_pylist() == [[]] * count
    assert matrix(columns["attributes"]).shape == (count, 0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"attributes": [0.5]}, "column attributes has lists of 2 lengths"),
        ({"regions": [0.5, None]}, "column regions has lists of 2 lengths"),
        ({"visible": None}, "column visible is null in 1 rows"),
        ({"regions": None}, "column regions is null in 1 rows"),
    ],
)
def test_rows_of_wrong_schema_are_refused(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    root = DataRoot(str(tmp_path))
    with pytest.raises(StoreError, match=complaint):
        root.write("crops", "run", 1, crop_table([crop("a"), crop("b", **change)]))
    with pytest.raises(StoreError, match="column regions has nulls in its lists"):
        root.write("crops", "run", 1, crop_table([crop("a", regions=[None])]))
    with pytest.raises(StoreError, match="column attributes is missing"):
        root.write("crops", "run", 1, crop_table([crop("a")]).drop_columns("attributes"))
    assert not list(tmp_path.rglob("*.parquet"))


def as_version_1(store: Store) -> None:
    """Rewrite every file of crops as the version before wrote it."""
    database = Database(locate(store.ref, create=False).database)
    with database.write() as session:
        for row in session.query(DataFileRow).where(DataFileRow.kind.in_(["crops", "candidates"])):
            if row.retired is None:
                path = Path(store.data) / row.path
                pq.write_table(pq.read_table(path).drop_columns(SINCE_2.names), path)
                row.bytes, row.checksum = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
                row.schema_version = 1
    database.close()


def test_version_1_files_have_empty_new_columns(store: Store) -> None:
    before = store.check()
    [*rows] = store.crops.scan(["crop_id", "image"])
    as_version_1(store)
    assert list(store.crops.scan(["crop_id", "image"])) == rows
    [batch] = store.crops.scan(["visible", "attributes", "regions"])
    assert batch.to_pylist() == [{"visible": 0, "attributes": [], "regions": []}] * before.crops
    assert batch.schema.types == SINCE_2.types
    [batch] = store.crops.scan(["attributes", "camera"], cameras=["c1"])
    assert set(batch.column("camera").to_pylist()) == {"c1"}
    ids = rows[0].column("crop_id").to_pylist()
    assert [row["attributes"] for row in store.crops.get(ids, ["attributes"])] == [[]] * len(ids)
    assert store.crops.get(ids)[0]["regions"] == []
    after = store.check()
    assert after.intact
    assert after.digest == before.digest


def test_version_1_may_lack_later_columns_only(store: Store) -> None:
    database = Database(locate(store.ref, create=False).database)
    as_version_1(store)
    with database.write() as session:
        session.execute(update(DataFileRow).values(schema_version=2))
    assert any("column visible is missing" in problem for problem in store.check().problems)
    database.close()


def test_model_facts_are_kept_if_registered_without_facts(store: Store) -> None:
    assert [model.facts for model in store.models.list()] == [ModelFacts()]
    store.models.register(MODEL, name="fake", location="here", facts=FACTS)
    store.models.register(MODEL, name="fake", location="there")
    [model] = store.models.list()
    assert (model.location, model.facts) == ("there", FACTS)
    assert ModelFacts.from_dict(json.loads(json.dumps(FACTS.to_dict())), "fake") == FACTS


def test_facts_that_cannot_be_read_name_the_model(store: Store) -> None:
    database = Database(locate(store.ref, create=False).database)
    with database.write() as session:
        session.execute(update(ModelRow).values(facts={"always": "many"}))
    with pytest.raises(StoreError, match="facts about model fake cannot be read"):
        store.models.list()
    database.close()


def test_facts_of_a_package() -> None:
    network = NetworkConfig(backbone="tiny", neck="concat", channels=16, regions=6, attributes="regions", awm=True)
    config = PackageConfig(
        name="full",
        network=network,
        input_size=(128, 64),
        attribute_schema=MARKET_1501.to_dict(),
        region_schema=REGIONS.to_dict(),
    )
    package = ModelPackage(config, build_network(network, schema=MARKET_1501, regions=REGIONS))
    facts = ModelFacts.of(package)
    assert (facts.always, facts.parts) == (3, 5)
    assert facts.blocks == (16, 16, 16 + 39, *[16] * 5)
    assert sum(facts.blocks) == package.embedding_dim
    assert (facts.attributes, facts.regions, facts.calibration) == (MARKET_1501, REGIONS, None)
    assert facts.part_names == ("head", "upper", "lower", "shoes", "belongings")
    assert ModelFacts.from_dict(facts.to_dict(), "full") == facts
    default = ModelFacts.of(ModelPackage.from_pretrained("default"))
    assert default.blocks
    assert default.part_names == ("upper", "lower", "shoes", "belongings")
    assert ModelFacts.from_dict(default.to_dict(), "default") == default


def test_models_registered_before_keep_their_rows(store_ref: Path) -> None:
    """Revision 0001 with a model in it, brought forward."""
    Store.open(store_ref).close()
    database = Database(locate(store_ref, create=False).database)
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with database.exclusive(1) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        columns = "digest, name, location, registered"
        connection.execute(
            text(f"INSERT INTO model ({columns}) VALUES ('{MODEL}', 'old', 'x', '2026-05-01 08:00:00.000000')")
        )
    database.close()
    with pytest.raises(StoreError, match="has schema 0001"):
        Store.open(store_ref)
    Store.migrate(store_ref)
    with Store.open(store_ref) as store:
        assert [(model.name, model.facts) for model in store.models.list()] == [("old", ModelFacts())]
