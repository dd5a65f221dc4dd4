"""`vestigo regions` over folders and datasets, and what it refuses; over a store in short."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.drawn_people import drawn, parsed_of, write_maps, write_model, write_people
from vestigo.datasets.synthetic import write_rendered
from vestigo.store.open import Store
from vestigo_models.parsing.label_folder import read_labels
from vestigo_models.parsing.registry import make_parser
from vestigo_ui.cli.main import run
from vestigo_workers.regions.folder import group_by_identity, identity_of, source_images

Captured = pytest.CaptureFixture[str]
MARKET = {f"0007_c{camera}s1_00000{camera}_00": drawn(shift=camera) for camera in (1, 2, 3)}
TRUTHS = {**MARKET, "0000_c1s1_000009_00": drawn(), "-1_c1s1_000008_00": drawn(bag=False), "somebody": drawn(shift=4)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), regions=True)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_people(tmp_path / "people", TRUTHS, tmp_path / "maps")


def run_json(capsys: Captured, *arguments: str | Path) -> dict[str, Any]:
    assert run(["regions", *map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def refused(capsys: Captured, *arguments: str | Path) -> str:
    assert run(["regions", *map(str, arguments)]) == 2
    line = capsys.readouterr().err.strip()
    assert "Traceback" not in line
    return " ".join(line.split())


def test_every_image_has_label_map_of_parser(people: Path, tmp_path: Path, capsys: Captured) -> None:
    parser = f"labels:{tmp_path / 'maps'}"
    result = run_json(capsys, people, "--parser", parser, "--out", tmp_path / "out")
    assert (result["images"], result["quarantined"], result["with_belongings"]) == (len(TRUTHS), 0, 0)
    for name, truth in TRUTHS.items():
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.array(image), parsed_of(truth))
    # What it wrote says itself what it is, and is a parser again.
    again = make_parser(f"labels:{tmp_path / 'out'}")
    assert again.label_set.classes == make_parser(parser).label_set.classes


def test_fused_maps_are_reproducible(people: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    settings = ("--parser", f"labels:{tmp_path / 'maps'}", "--fls", "--model", model, "--panel")
    results = [run_json(capsys, people, *settings, "--out", tmp_path / out) for out in ("one", "two")]
    run_json(capsys, people, *settings, "--out", tmp_path / "two")
    assert results[0]["with_belongings"] == results[1]["with_belongings"]
    for path in sorted((tmp_path / "one").rglob("*.png")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    for name, truth in TRUTHS.items():
        labels = read_labels(tmp_path / "one" / f"{name}.png")
        np.testing.assert_array_equal(np.where(labels == 5, 0, labels), parsed_of(truth))
        assert (tmp_path / "one" / "panels" / f"{name}.png").stat().st_mode & 0o777 == 0o600
    described = json.loads((tmp_path / "one" / "labels.json").read_text())
    assert described["classes"][5] == "belongings"
    assert not list(tmp_path.rglob("*.partial"))


def test_unreadable_images_are_quarantined(people: Path, tmp_path: Path, capsys: Captured) -> None:
    (people / "broken.jpg").write_bytes(b"no image")
    cv2.imwrite(str(people / "unknown.png"), np.zeros((8, 4, 3), dtype=np.uint8))
    result = run_json(capsys, people, "--parser", f"labels:{tmp_path / 'maps'}", "--out", tmp_path / "out")
    assert (result["images"], result["quarantined"]) == (len(TRUTHS) + 2, 2)
    reasons = {Path(failure["image"]).name: failure["reason"] for failure in result["failures"]}
    assert reasons == {"broken.jpg": "not-an-image", "unknown.png": "no-labels"}
    assert len(list((tmp_path / "out").glob("*.png"))) == len(TRUTHS)


def test_source_is_dataset_split_or_image(tmp_path: Path, capsys: Captured) -> None:
    root = tmp_path / "dataset"
    splits = {"bounding_box_train": 2, "query": 3, "bounding_box_test": 3}
    truths = {f: {f"{pid:04d}_c1s1_{i:06d}_00": drawn()} for i, (f, pid) in enumerate(splits.items())}
    truths["bounding_box_test"]["-1_c1s1_000009_00"] = drawn()
    for folder, held in truths.items():
        write_people(root / folder, held)
        write_maps(tmp_path / "maps", held)
    # The same picture in two splits has one map.
    write_people(root / "bounding_box_test", truths["query"])
    parser = ("--parser", f"labels:{tmp_path / 'maps'}")
    result = run_json(capsys, root, *parser, "--out", tmp_path / "all")
    assert (result["images"], result["quarantined"]) == (4, 0)
    names = {name for held in truths.values() for name in held}
    assert {path.stem for path in (tmp_path / "all").glob("*.png")} == names
    assert run_json(capsys, root, "--split", "train", *parser, "--out", tmp_path / "train")["images"] == 1
    image = next((root / "query").glob("*.png"))
    assert run_json(capsys, image, *parser, "--out", tmp_path / "single")["images"] == 1
    assert (tmp_path / "single" / image.name).is_file()
    write_people(root / "bounding_box_test", {next(iter(truths["query"])): drawn(bag=False)})
    assert "rename one" in refused(capsys, root, *parser, "--out", tmp_path / "clash")


def test_subfolders_are_kept_and_output_is_no_input(tmp_path: Path, capsys: Captured) -> None:
    source = tmp_path / "people"
    for camera in ("gate", "hall"):
        write_people(source / camera, {"a": drawn()}, tmp_path / "maps")
    parser = ("--parser", f"labels:{tmp_path / 'maps'}")
    for _ in range(2):
        assert run_json(capsys, source, *parser, "--out", source / "labelled")["images"] == 2
    for camera in ("gate", "hall"):
        assert (source / "labelled" / camera / "a.png").is_file()
        assert make_parser(f"labels:{source / 'labelled' / camera}").label_set.name == "body-regions"


def test_archive_of_training_split_is_labelled_and_split_that_it_lacks_refused(
    tmp_path: Path, capsys: Captured
) -> None:
    write_people(tmp_path / "people" / "bounding_box_train", MARKET, tmp_path / "maps")
    archive = tmp_path / "people.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(tmp_path / "people", "people")
    parser = ("--parser", f"labels:{tmp_path / 'maps'}")
    assert run_json(capsys, archive, *parser, "--out", tmp_path / "all")["images"] == 3
    assert run_json(capsys, archive, *parser, "--split", "train", "--out", tmp_path / "train")["images"] == 3
    assert {path.stem for path in (tmp_path / "all").glob("*.png")} == set(MARKET)
    lacking = refused(capsys, archive, *parser, "--split", "query", "--out", tmp_path / "query")
    assert "has no such split; it has train" in lacking


def test_images_of_one_identity_are_clustered_together(people: Path, tmp_path: Path) -> None:
    groups = group_by_identity(source_images(people, tmp_path / "out"))
    assert sorted(sorted(image.path.stem for image in group) for group in groups) == sorted(
        [sorted(MARKET), *([name] for name in TRUTHS if name not in MARKET)]
    )
    assert identity_of("0001_c2_f0046182.jpg") == 1
    assert identity_of("0002_c1s1_000451_03.jpg") == 2
    assert [identity_of(name) for name in ("0000_c1s1_000001_00.jpg", "-1_c1s1_000001_00.jpg", "a.jpg")] == [None] * 3


def test_maps_are_compared_with_true_maps(model: Path, tmp_path: Path, capsys: Captured) -> None:
    root = tmp_path / "people"
    write_rendered(root, "small", 8, 2, 2, seed=11, processes=1)
    requests = [root, "--split", "gallery", "--fls", "--model", model, "--judge", "--out", tmp_path / "out"]
    result = run_json(capsys, *requests)
    assert list(result["judged"]) == ["parser", "clustering", "fls", "oracle"]
    assert result["judged"]["parser"]["regions"]["images"] == result["images"] - 2  # junk is in no split
    assert set(result["judged"]["parser"]["belongings"].values()) == {0.0, None}  # none carries some of them
    assert result["judged"]["oracle"]["regions"]["mean"] > result["judged"]["parser"]["regions"]["mean"] > 40
    assert result["belongings_of_oracle"].keys() == {"backpack", "bag", "handbag"}
    assert run(["regions", *map(str, requests)]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("of oracle", "clustering", "belongings", "  handbag"))
    assert "add --fls" in refused(capsys, root, "--judge", "--out", tmp_path / "out")
    assert "--judge: a run has no true" in refused(capsys, "run", "--judge", "--store", tmp_path / "s")
    assert "not a dataset" in refused(capsys, tmp_path / "out", "--fls", "--judge", "--out", tmp_path / "other")


def test_conflicting_options_are_refused(
    people: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VESTIGO_STORE", raising=False)
    out = ("--out", tmp_path / "out")
    maps = ("--parser", f"labels:{tmp_path / 'maps'}")
    assert "give --out" in refused(capsys, people, *maps)
    assert "unknown parser 'nonsense'" in refused(capsys, people, "--parser", "nonsense", *out)
    assert "no such file or folder" in refused(capsys, tmp_path / "gone", *maps, *out)
    assert "is no dataset" in refused(capsys, people, "--split", "train", *maps, *out)
    assert "use train, query, gallery" in refused(capsys, people, "--split", "test", *maps, *out)
    assert "is the source itself" in refused(capsys, people, *maps, "--out", people)
    assert "give a share of a GPU" in refused(capsys, people, *maps, *out, "--gpus-per-actor", "nan")
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refused(capsys, tmp_path / "empty", *maps, *out)
    bot = write_model(tmp_path / "bot", neck="none")
    assert "no feature map" in refused(capsys, people, *maps, *out, "--fls", "--model", bot)
    assert "give --out and --panel both" in refused(capsys, "run", *maps, *out, "--store", tmp_path / "s")
    assert not (tmp_path / "out").exists()


def test_maps_of_two_label_sets_do_not_share_folder(
    people: Path, model: Path, tmp_path: Path, capsys: Captured
) -> None:
    settings = ("--parser", f"labels:{tmp_path / 'maps'}", "--out", tmp_path / "out")
    run_json(capsys, people, *settings)
    assert "another kind" in refused(capsys, people, *settings, "--fls", "--model", model)


def test_run_of_store_is_labelled(people: Path, model: Path, tmp_path: Path, capsys: Captured) -> None:
    store = ("--store", str(tmp_path / "store"))
    sheet = ("--html", str(tmp_path / "sheet.html"))
    assert run(["index", str(people), *store, *sheet, "--executor", "inline", "--detector", "none", "--json"]) == 0
    indexed = json.loads(capsys.readouterr().out)["run"]
    settings = ("--parser", f"labels:{tmp_path / 'maps'}", "--fls", "--model", model, "--executor", "inline")
    result = run_json(capsys, indexed, *store, *settings, "--panel", "--out", tmp_path / "pictures")
    assert (result["kind"], result["images"], result["quarantined"]) == ("regions", len(TRUTHS), 0)
    assert result["panels"] == len(list((tmp_path / "pictures").glob("*.png"))) == len(TRUTHS)
    with Store.open(tmp_path / "store") as opened:
        exports = [(entry.details["what"], entry.details["run"]) for entry in opened.audit.entries(action="export")]
    assert exports == [("contact sheet", indexed), ("panels", indexed)]
    assert run_json(capsys, indexed, *store, *settings)["skipped"] == result["inputs"]
    assert run(["runs", "list", *store]) == 0
    assert f"{len(TRUTHS)} label maps" in capsys.readouterr().out
    for command in ("show", "resume"):
        assert run(["runs", command, result["run"], *store, "--json"]) == 0
        again = json.loads(capsys.readouterr().out)
        assert (again["images"], again["with_belongings"]) == (result["images"], result["with_belongings"])
    assert run(["runs", "show", result["run"], *store]) == 0
    assert "label maps" in capsys.readouterr().out
    assert run(["store", "check", *store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["intact"]
