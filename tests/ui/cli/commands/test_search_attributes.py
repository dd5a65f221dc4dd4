"""`vestigo search` and `vestigo rank` over a store of a model with parts and attributes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.support.fake_pipeline import START, begin, crop, crop_table, images
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import feature_columns
from vestigo.store.runs.records import InputOutcome
from vestigo_models.attribute_filter.curve import FilterCurve
from vestigo_models.attribute_filter.record import Calibration, record_filter
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import encode_jpeg
from vestigo_models.inference.package import ModelPackage, PackageConfig
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_models.schemas.regions import REGIONS
from vestigo_ui.cli.main import run

CROPS = 60


def full_package() -> ModelPackage:
    """A network with everything and random weights, whose filter was calibrated on nobody."""
    torch.manual_seed(5)
    network = NetworkConfig(backbone="tiny", neck="concat", channels=16, regions=6, attributes="regions", awm=True)
    curve = FilterCurve(
        thresholds=np.array([0.7, 0.95, 1.01]),
        miss_rates=np.repeat([[0.4, 0.001, 0.0]], 500, axis=0),
        pids=np.arange(500),
        kept_fractions=np.array([0.02, 0.25, 1.0]),
    )
    config = PackageConfig(
        name="full",
        network=network,
        input_size=(128, 64),
        attribute_schema=MARKET_1501.to_dict(),
        region_schema=REGIONS.to_dict(),
        calibration=Calibration(filter=record_filter(curve), measured_on="nobody").model_dump(mode="json"),
    )
    return ModelPackage(config, build_network(network, schema=MARKET_1501, regions=REGIONS))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 60 noisy crops, the package beside it, and the first crop as a picture."""
    folder = tmp_path_factory.mktemp("archive")
    full_package().save_pretrained(folder / "full")
    package = ModelPackage.from_pretrained(folder / "full")
    rng = np.random.default_rng(1)
    pictures = [
        cv2.resize(rng.integers(0, 255, (8, 4, 3), dtype=np.uint8), (32, 64), interpolation=cv2.INTER_NEAREST)
        for _ in range(CROPS)
    ]
    outputs = Extractor(package).extract(pictures)
    # Random weights are sure of nothing.
    sure = np.stack(
        [
            np.concatenate([rng.dirichlet(np.full(len(a.values), 0.1)) for a in MARKET_1501.attributes])
            for _ in range(CROPS)
        ]
    ).astype(np.float32)
    features = feature_columns(outputs.descriptors, sure, outputs.areas)
    rows = [
        crop(
            f"{number}.jpg",
            camera=f"cam{number % 2}",
            time=START,
            image=encode_jpeg(image),
            **{name: column[number].as_py() for name, column in features.items()},
        )
        for number, image in enumerate(pictures)
    ]
    cv2.imwrite(str(folder / "0.png"), cv2.cvtColor(pictures[0], cv2.COLOR_RGB2BGR))
    with Store.open(folder / "store") as store:
        begun = begin(store, model=package.digest)
        facts = ModelFacts.of(package)
        store.models.register(package.digest, name="full", location=str(folder / "full"), facts=facts)
        store.shards.plan(begun.id, [images(*(row["input"] for row in rows))])
        store.runs.take_lease(begun.id)
        (task,) = store.shards.pending(begun.id, limit=1)
        file = store.root.write("crops", begun.id, task.id, crop_table(rows, package.embedding_dim))
        store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(i, "done", rows=1) for i in range(CROPS)])
        store.runs.finish(begun.id, "succeeded")
    return folder


@pytest.fixture
def call(archive: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run_json(command: str, *arguments: str | Path) -> dict[str, Any]:
        given = [command, *map(str, arguments), "--store", str(archive / "store"), "--device", "cpu", "--json"]
        assert run(given) == 0, capsys.readouterr().err
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run_json


def test_image_matches_itself_and_hits_have_attributes(call: Any, archive: Path) -> None:
    result = call("search", archive / "0.png")
    first = result["results"][0]
    assert first["crop"] == crop("0.jpg")["crop_id"]
    assert first["distance"] == pytest.approx(0, abs=1e-5)
    assert list(first["attributes"]) == list(MARKET_1501.names)
    assert all(value in MARKET_1501[name].values for name, value in first["attributes"].items())
    assert all(0 < confidence <= 1 for confidence in first["confidences"].values())
    assert result["filter"] is None


def test_where_works_alone_and_with_query(call: Any) -> None:
    alone = call("search", "--where", "gender=female,backpack=yes", "--top", "5", "--cameras", "cam1")
    assert alone["compared"] == 30
    assert len(alone["results"]) == 5
    assert alone["results"][0]["attributes"]["gender"] == "female"
    distances = [row["distance"] for row in alone["results"]]
    assert distances == sorted(distances)
    assert 0 <= distances[0] < distances[-1] <= 1
    narrowed = call("search", crop("3.jpg")["crop_id"], "--where", "gender=female", "--top", "60")
    assert {row["attributes"]["gender"] for row in narrowed["results"]} == {"female"}
    assert 0 < narrowed["compared"] < CROPS


def test_filters_report_expected_losses(call: Any) -> None:
    query = crop("3.jpg")["crop_id"]
    result = call("search", query, "--filter", "auto", "--max-lost", "0.01", "--top", "60")
    assert (
        result["filter"].items()
        >= {
            "mode": "auto",
            "threshold": 0.95,
            "expected_kept": 0.25,
            "expected_lost": 0.001,
            "guaranteed": False,
        }.items()
    )
    assert "not guaranteed here" in result["filter"]["sentence"]
    assert result["kept_fraction"] == pytest.approx(50 / CROPS)
    assert len(result["results"]) == 49
    strict = call("search", query, "--filter", "strict", "--where", "gender=female")
    assert strict["filter"]["expected_lost"] == 0.4


def test_filtered_rank_agrees_with_search(call: Any, archive: Path, tmp_path: Path) -> None:
    ids = [crop(f"{number}.jpg")["crop_id"] for number in (1, 2)]
    (tmp_path / "crops.txt").write_text("\n".join(ids))
    ranked = call("rank", tmp_path / "crops.txt", "--name", "x", "--filter", "0.9", "--top", "5")
    assert ranked["kept_fraction"] == pytest.approx(50 / CROPS)
    assert ranked["filter"]["threshold"] == 0.9
    with Store.open(archive / "store") as store:
        rows = [row for batch in store.rankings.scan(store.rankings.get("x")) for row in batch.to_pylist()]
    for query in ids:
        crops = [row["crop"] for row in call("search", query, "--filter", "0.9", "--top", "5")["results"]]
        assert [row["crop"] for row in rows if row["query"] == query] == crops


def test_page_and_table_show_attributes_and_filter(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = crop("3.jpg")["crop_id"]
    given = ["search", query, "--store", str(archive / "store"), "--filter", "strict", "--top", "4"]
    assert run([*given, "--html", str(tmp_path / "found.html")]) == 0
    page = (tmp_path / "found.html").read_text()
    assert page.count("<br>gender ") == 4
    assert "Crops that the filter kept" in page
    assert "not guaranteed here" in page
    assert "of them kept. At 0.7 about 2 % of other people" in " ".join(capsys.readouterr().out.split())
    where = ["search", "--where", "gender=female", "--store", str(archive / "store"), "--top", "3"]
    assert run([*where, "--html", str(tmp_path / "where.html")]) == 0
    page = (tmp_path / "where.html").read_text()
    assert "<h2>Query</h2>" not in page
    assert page.count("gender female") >= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the search has no query: give an image, the id of a crop, or --where"),
        (["--where", "gender=both"], "gender cannot be 'both'"),
        (["--where", "hat=yes", "--filter", "strict"], "compare with a query"),
        (["--where", "hat=yes", "--rerank"], "compare with a query"),
        (["QUERY", "--where", "shoes=red"], "unknown attribute 'shoes'"),
        (["QUERY", "--filter", "much"], "filter 'much': give off, strict, quality, auto, soft or a threshold"),
        (["QUERY", "--filter", "soft"], "no calibration with a soft weight"),
        (["QUERY", "--filter", "auto", "--max-lost", "1"], "--max-lost 1: give a share"),
    ],
)
def test_usage_errors_have_status_2(
    archive: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = [crop("3.jpg")["crop_id"] if argument == "QUERY" else argument for argument in arguments]
    assert run(["search", *given, "--store", str(archive / "store")]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
