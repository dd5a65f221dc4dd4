"""A schema of a user's own, from training to search and review."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.app_pages import run_app, widget, words
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.synthetic import write_rendered
from vestigo_models.inference.package import ModelPackage
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_ui.cli.main import run

pytestmark = pytest.mark.slow

SCHEMA = """
name: shop
attributes:
  - name: mask
    values: ["no", "yes"]
    regions: [head]
  - name: shoes
    values: [dark, light]
    regions: [shoes]
  - name: coat
    title: Length of the coat
    values: [short, long]
    regions: [upper, lower]
"""
CONFIG = """
network: {backbone: tiny, neck: concat, channels: 8, regions: 5, attributes: regions}
fls: {labels: parser}
batch_identities: 2
images_per_identity: 2
input_size: [64, 32]
"""
NAMES = ["mask", "shoes", "coat"]
Command = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the schema, rendered people labelled in `attributes.csv`, a model of the schema, and a store."""
    folder = tmp_path_factory.mktemp("shop")
    people = folder / "people"
    write_rendered(people, "small", identities=4, cameras=2, images_per_camera=2, processes=1)
    (folder / "shop.yaml").write_text(SCHEMA, encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    rows = [(pid, name, value) for pid in (1, 2, 3, 4) for name, value in labels_of(pid).items()]
    with (people / "attributes.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("pid", "attribute", "value"), *rows])
    assert run(["train", str(folder / "config.yaml"), "--data", str(people), "--schema", str(folder / "shop.yaml"),
                "--parser", f"labels:{people / 'regions' / 'bounding_box_train'}", "--epochs", "1",
                "--device", "cpu", "--out", str(folder / "model")]) == 0  # fmt: skip
    assert run(["index", str(people), "--store", str(folder / "store"), "--model", str(folder / "model"),
                "--device", "cpu", "--executor", "inline"]) == 0  # fmt: skip
    return folder


@pytest.fixture
def store(shop: Path, tmp_path: Path) -> Path:
    """The store for one test alone."""
    return Path(shutil.copytree(shop / "store", tmp_path / "store"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command with --json and return its result."""

    def result_of(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        assert run([*map(str, arguments), "--json"]) == 0
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return result_of


def labels_of(pid: int) -> dict[str, str]:
    return {
        "mask": "yes" if pid % 2 else "no",
        "shoes": "light" if pid % 3 else "dark",
        "coat": "long" if pid > 2 else "short",
    }


def test_package_keeps_schema_and_regions(shop: Path) -> None:
    schema = ModelPackage.from_pretrained(shop / "model").schema
    assert schema == AttributeSchema.from_yaml(shop / "shop.yaml")
    assert [attribute.regions for attribute in schema.attributes] == [("head",), ("shoes",), ("upper", "lower")]


def test_evaluate_lists_attributes_of_the_model(shop: Path, command: Command) -> None:
    result = command("evaluate", shop / "people", "--model", shop / "model", "--device", "cpu")
    assert list(result["attributes"]) == NAMES
    assert result["notes"] == []
    assert None not in result["attributes"].values()
    given = command(
        "evaluate", shop / "people", "--model", shop / "model", "--device", "cpu", "--schema", shop / "shop.yaml"
    )
    assert given["attributes"] == result["attributes"]


def test_search_reads_conditions_of_the_schema(
    shop: Path, store: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    result = command("search", "--store", store, "--where", "mask=yes,coat=long", "--top", 3)
    assert [list(hit["attributes"]) for hit in result["results"]] == [NAMES] * 3
    query = result["results"][0]["crop"]
    predicted = result["results"][0]["attributes"]["mask"]
    narrowed = command(
        "search", query, "--store", store, "--where", f"mask={predicted}", "--schema", shop / "shop.yaml"
    )
    assert {hit["attributes"]["mask"] for hit in narrowed["results"]} == {predicted}
    assert run(["search", "--store", str(store), "--where", "hat=yes"]) == 2
    assert "unknown attribute 'hat' (known: mask, shoes, coat)" in capsys.readouterr().err


def test_calibration_has_temperatures_of_the_schema(shop: Path, tmp_path: Path, command: Command) -> None:
    model = shutil.copytree(shop / "model", tmp_path / "model")
    result = command("calibrate", "--model", model, "--data", shop / "people", "--device", "cpu")
    assert set(result["error_before"]) == set(NAMES)


def test_review_uses_the_schema(shop: Path, store: Path, tmp_path: Path, command: Command) -> None:
    dry = command("label", "push", "--store", store, "-p", "p", "--about", "mask,coat", "--dry-run")
    assert dry["strategy"] == "entropy of mask, coat"
    crops = [hit["crop"] for hit in command("search", "--store", store, "--where", "mask=yes")["results"]]
    (tmp_path / "labels.csv").write_text(f"crops,attribute,value\n{crops[0]},coat,long\n{crops[0]},mask,no\n")
    imported = command(
        "label", "import", tmp_path / "labels.csv", "--store", store, "-p", "files", "--schema", shop / "shop.yaml"
    )
    assert imported["pulled"] == 2
    exported = command("label", "export", "--store", store, "--out", tmp_path / "attributes.csv")
    assert exported["written"] == 2
    with (tmp_path / "attributes.csv").open(encoding="utf-8", newline="") as stream:
        assert {row["attribute"]: row["value"] for row in csv.DictReader(stream)} == {"coat": "long", "mask": "no"}


def test_exported_labels_are_read_as_dataset_labels(shop: Path, store: Path, tmp_path: Path, command: Command) -> None:
    people = Path(shutil.copytree(shop / "people", tmp_path / "people"))
    hits = command("search", "--store", store, "--where", "mask=yes")["results"]
    crops = [hit["crop"] for hit in hits if hit["input"].startswith("bounding_box_train/0001")]
    rows = [f"{crops[0]},{name},{value}" for name, value in (("mask", "no"), ("shoes", "dark"), ("coat", "long"))]
    (tmp_path / "labels.csv").write_text("\n".join(["crops,attribute,value", *rows, ""]))
    command("label", "import", tmp_path / "labels.csv", "--store", store, "-p", "files")
    command("label", "export", "--store", store, "--out", people / "attributes.csv")
    dataset = load_dataset(people, schema=AttributeSchema.from_yaml(shop / "shop.yaml"))
    labels = {int(pid): row for pid, row in zip(dataset.train.pids, dataset.train.labels.tolist(), strict=True)}
    assert labels == {1: [0, 0, 1], 2: [-1, -1, -1]}


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "{shop}/people", "--model", "{shop}/model"),
        ("calibrate", "--model", "{shop}/model", "--data", "{shop}/people"),
        ("search", "--store", "{store}", "--where", "mask=yes"),
        ("rank", "--store", "{store}", "--name", "all", "--each-tracklet"),
        ("precision", "--store", "{store}"),
        ("label", "push", "--store", "{store}", "-p", "p", "--dry-run"),
        ("label", "import", "labels.csv", "--store", "{store}", "-p", "p"),
        ("retrain", "--store", "{store}", "--base", "{shop}/model"),
        ("loop", "--store", "{store}", "-p", "p", "--base", "{shop}/model"),
    ],
    ids=lambda arguments: " ".join(word for word in arguments[:2] if word[0] not in "-{"),
)
def test_other_schema_than_the_model_is_rejected(
    shop: Path, store: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    filled = [argument.format(shop=shop, store=store) for argument in arguments]
    assert run([*filled, "--schema", "market1501"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("vestigo: --schema market1501 names the attributes of market-1501 (gender, ")
    assert "predicts those of shop (mask, shoes, coat)" in error
    assert "\n" not in error


def test_render_writes_a_subset_of_its_attributes(tmp_path: Path, command: Command) -> None:
    schema = tmp_path / "sleeves.yaml"
    schema.write_text('name: sleeves\nattributes:\n  - name: sleeve\n    values: ["long", "short"]\n', "utf-8")
    command("render", tmp_path / "people", "--identities", 2, "--cameras", 1, "--images-per-camera", 1,
            "--schema", schema)  # fmt: skip
    dataset = load_dataset(tmp_path / "people", schema=AttributeSchema.from_yaml(schema))
    market = load_dataset(tmp_path / "people")
    column = market.schema.index("sleeve")
    assert dataset.without_labels == ""
    assert dataset.train.labels[:, 0].tolist() == market.train.labels[:, column].tolist()


def test_render_rejects_attributes_that_it_cannot_draw(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["render", str(tmp_path / "people"), "--schema", str(shop / "shop.yaml")]) == 2
    assert "rendered people have no attribute 'mask' (schema shop)" in capsys.readouterr().err
    assert not (tmp_path / "people").exists()


@pytest.mark.parametrize("page", ["find", "attributes"])
def test_pages_show_the_schema_of_the_model(store: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    app = run_app(monkeypatch, store, page=page, role="admin")
    assert not app.exception
    labels = [box.label for kind in ("selectbox", "multiselect") for box in app.get(kind)]
    text = words(app) + " ".join(labels) + str([frame.value.to_dict() for frame in app.dataframe])
    assert "mask" in text.lower()
    assert "backpack" not in text.lower()


def test_review_samples_attributes_of_the_model(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = run_app(monkeypatch, store, page="review", role="admin", pane="propose")
    assert not app.exception
    assert widget(app, "multiselect", "About").options == ["Mask", "Shoes", "Length of the coat"]
