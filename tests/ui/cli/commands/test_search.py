from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support import hostile
from tests.support.fake_pipeline import START, begin, crop, crop_table, images
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo.store.parquet.descriptors import feature_columns
from vestigo.store.runs.records import InputOutcome
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import encode_jpeg, read_image
from vestigo_models.inference.package import ModelPackage, resolve_model
from vestigo_models.schemas.builtin import MARKET_1501
from vestigo_ui.cli.main import run

PEOPLE, CAMERAS = 4, 3


def picture(person: int, camera: int) -> np.ndarray:
    """Two flat halves whose colours are the person's; the camera adds light."""
    top, bottom = np.random.default_rng(person).integers(20, 200, (2, 3))
    image = np.empty((64, 32, 3), dtype=np.uint8)
    image[:32], image[32:] = top + 8 * camera, bottom + 8 * camera
    return image


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    return ModelPackage.from_pretrained("default")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, package: ModelPackage) -> Path:
    """A store with one crop of each of 4 people by each of 3 cameras, and the pictures beside it."""
    folder = tmp_path_factory.mktemp("archive")
    shown = [(person, camera) for person in range(PEOPLE) for camera in range(CAMERAS)]
    pictures = [picture(*pair) for pair in shown]
    outputs = Extractor(package).extract(pictures)
    features = feature_columns(outputs.descriptors, outputs.probabilities, outputs.areas)
    rows = [
        crop(
            f"p{person}c{camera}.jpg",
            camera=f"cam{camera}",
            time=START + timedelta(minutes=10 * camera + person),
            tracklet=f"t{person}-{camera}",
            image=encode_jpeg(image),
            **{name: column[row].as_py() for name, column in features.items()},
        )
        for row, ((person, camera), image) in enumerate(zip(shown, pictures, strict=True))
    ]
    for row, image in zip(rows, pictures, strict=True):
        cv2.imwrite(str(folder / row["input"].replace("jpg", "png")), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    fill(folder / "store", package, rows)
    return folder


def fill(path: Path, package: ModelPackage, rows: list[dict[str, Any]]) -> None:
    """Index rows as one run of a model."""
    with Store.open(path) as store:
        begun = begin(store, model=package.digest)
        location = str(resolve_model("default"))
        store.models.register(package.digest, name=package.name, location=location, facts=ModelFacts.of(package))
        store.shards.plan(begun.id, [images(*(row["input"] for row in rows))])
        store.runs.take_lease(begun.id)
        (task,) = store.shards.pending(begun.id, limit=1)
        file = store.root.write("crops", begun.id, task.id, crop_table(rows, package.embedding_dim))
        store.shards.commit(task.id, files=[file], outcomes=[InputOutcome(i, "done", rows=1) for i in range(len(rows))])
        store.runs.finish(begun.id, "succeeded")


def crop_of(person: int, camera: int) -> str:
    crop_id: str = crop(f"p{person}c{camera}.jpg")["crop_id"]
    return crop_id


@pytest.fixture
def search(archive: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str | Path) -> dict[str, Any]:
        command = ["search", *map(str, arguments), "--store", str(archive / "store"), "--device", "cpu", "--json"]
        assert run(command) == 0, capsys.readouterr().err
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


def test_crop_query(search: Any, package: ModelPackage) -> None:
    result = search(crop_of(1, 0), "--top", "5")
    rows = result["results"]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert crop_of(1, 0) not in [row["crop"] for row in rows]
    assert rows[0].keys() >= {"rank", "crop", "distance", "camera", "time", "track", "attributes"}
    assert rows[0]["attributes"].keys() == set(MARKET_1501.names)
    assert rows[0]["attributes"]["gender"] in MARKET_1501["gender"].values
    assert (result["kept_fraction"], result["compared"], result["model"]) == (1.0, 12, package.digest)
    by_crop = {row["crop"]: row for row in rows}
    for row in by_crop.values():
        assert row["time"].endswith("+00:00")
        assert row["track"].endswith(row["camera"][-1])


def test_image_query_finds_its_own_crop_first(search: Any, archive: Path) -> None:
    result = search(archive / "p2c1.png")
    assert result["results"][0]["crop"] == crop_of(2, 1)
    assert result["results"][0]["distance"] == pytest.approx(0, abs=1e-6)
    assert len(result["results"]) == 12


def test_box_cuts_the_person_out_of_a_frame(search: Any, archive: Path, tmp_path: Path) -> None:
    frame = np.zeros((200, 300, 3), dtype=np.uint8)
    frame[50:114, 100:132] = cv2.imread(str(archive / "p3c2.png"))
    cv2.imwrite(str(tmp_path / "frame.png"), frame)
    result = search(tmp_path / "frame.png", "--box", "100,50,32,64")
    assert result["results"][0]["crop"] == crop_of(3, 2)
    # Not 0: the camera of the frame is unknown, and the crop is without the bias of its own.
    assert result["results"][0]["distance"] == pytest.approx(0, abs=1e-4)


def test_several_views_and_the_scope(search: Any, archive: Path) -> None:
    result = search(archive / "p0c0.png", crop_of(0, 1), "--cameras", "cam1,cam2", "--from", "2026-05-01T08:10:00")
    assert result["compared"] == 8
    assert {row["camera"] for row in result["results"]} == {"cam1", "cam2"}
    assert crop_of(0, 1) not in {row["crop"] for row in result["results"]}
    until = search(crop_of(0, 1), "--to", "2026-05-01T10:10:00+02:00", "--cameras", "cam0", "--cameras", "cam1")
    assert {row["camera"] for row in until["results"]} == {"cam0"}


def test_rerank_and_named_model(search: Any) -> None:
    assert len(search(crop_of(1, 0), "--rerank")["results"]) == 11
    assert len(search(crop_of(1, 0), "--model", "default")["results"]) == 11


def test_page(search: Any, archive: Path, tmp_path: Path) -> None:
    search(archive / "p0c0.png", crop_of(1, 1), "--html", tmp_path / "found.html", "--top", "4")
    page = (tmp_path / "found.html").read_text()
    assert (tmp_path / "found.html").stat().st_mode & 0o777 == 0o600
    assert page.count("data:image/jpeg;base64,") == 2 + 4
    assert "2026-05-01 08:" in page
    assert "<script" not in page


def test_store_from_the_environment(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VESTIGO_STORE", str(archive / "store"))
    assert run(["search", crop_of(0, 0)]) == 0
    shown = capsys.readouterr().out
    assert "12 crops compared" in shown
    assert crop_of(0, 1) in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such.jpg"], "'no-such.jpg' is neither an image file nor the id of a crop"),
        (["f" * 20], f"crop {'f' * 20} is not in the store"),
        (["PICTURE", "--box", "1,2,3"], "box '1,2,3' is not x,y,w,h"),
        (["PICTURE", "--box", "1,2,0,4"], "has no area"),
        (["PICTURE", "--box", "100,100,5,5"], "lies outside the frame of 32x64"),
        (["f" * 20, "--box", "1,2,3,4"], "but 0 images are given"),
        (["PICTURE", "--from", "yesterday"], "--from 'yesterday' is not a time"),
        (["PICTURE", "--from", "2026-05-02", "--to", "2026-05-01"], "is not before"),
        (["PICTURE", "--model", "no-such-model"], "no-such-model"),
        (["BROKEN"], "not-an-image"),
    ],
)
def test_usage_errors_are_one_line_with_status_2(
    archive: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (archive / "broken.jpg").write_text("a text")
    places = {"PICTURE": str(archive / "p0c0.png"), "BROKEN": str(archive / "broken.jpg")}
    given = [places.get(argument, argument) for argument in arguments]
    assert run(["search", *given, "--store", str(archive / "store")]) == 2
    shown = capsys.readouterr()
    assert message in " ".join(shown.err.split())
    assert "Traceback" not in shown.err


def test_missing_store_is_not_created(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", "f" * 20, "--store", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()
    capsys.readouterr()


@pytest.fixture
def rank(archive: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        command = ["rank", *map(str, arguments), "--store", str(archive / "store"), "--device", "cpu", "--json"]
        assert run([*command, "--name", "wanted"]) == 0, capsys.readouterr().err
        with Store.open(archive / "store") as store:
            rows = [row for batch in store.rankings.scan(store.rankings.get("wanted")) for row in batch.to_pylist()]
        return json.loads(capsys.readouterr().out), rows

    return call


def test_rank_folder(rank: Any, archive: Path, tmp_path: Path) -> None:
    for name in ("p0c0.png", "p3c1.png"):
        (tmp_path / name).write_bytes((archive / name).read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"")
    result, rows = rank(tmp_path, "--top", "3")
    assert (result["queries"], result["ranked"], result["rows"]) == (3, 2, 6)
    assert result["excluded"] == {"empty-file": 1}
    assert [(row["query"], row["rank"]) for row in rows] == [
        (n, r) for n in ("p0c0.png", "p3c1.png") for r in (1, 2, 3)
    ]
    assert [row["crop"] for row in rows if row["rank"] == 1] == [crop_of(0, 0), crop_of(3, 1)]


def test_rank_crop_list_agrees_with_search(rank: Any, search: Any, tmp_path: Path) -> None:
    requests = [crop_of(0, 0), crop_of(2, 2)]
    (tmp_path / "crops.txt").write_text("\n".join(requests) + "\n")
    result, rows = rank(tmp_path / "crops.txt", "--top", "4", "--model", "default")
    assert result["ranked"] == 2
    for query in requests:
        expected = [row["crop"] for row in search(query, "--top", "4")["results"]]
        assert [row["crop"] for row in rows if row["query"] == query] == expected


def test_rank_each_tracklet_and_dataset(rank: Any, write_dataset: Any) -> None:
    result, rows = rank("--each-tracklet", "--top", "99")
    assert (result["queries"], result["rows"]) == (12, 12 * 11)
    assert len({row["query"] for row in rows}) == 12
    result, rows = rank(write_dataset(), "--top", "1")
    assert [row["query"] for row in rows] == ["query/0001_c1s1_000000_00.jpg", "query/0003_c2s1_000001_00.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "or --each-tracklet, one of the two"),
        (["nowhere"], "no such file or folder"),
        (["EMPTY"], "holds no image"),
        (["LIST"], "names no crop"),
    ],
)
def test_rank_reports_usage_errors(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n")
    places = {"EMPTY": str(tmp_path / "empty"), "LIST": str(tmp_path / "list.txt")}
    given = [places.get(argument, argument) for argument in arguments]
    assert run(["rank", *given, "--store", str(archive / "store"), "--name", "x"]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_changed_model_is_refused(archive: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A store whose newest model is no longer where it was."""
    with Store.open(tmp_path / "s") as store:
        store.models.register("c" * 64, name="old", location=str(resolve_model("default")))
        store.models.register("d" * 64, name="gone", location=str(tmp_path / "gone"))
    image = archive / "p0c0.png"
    read_image(image)
    assert run(["search", str(image), "--store", str(tmp_path / "s")]) == 2
    assert "model gone of the store is no longer at" in " ".join(capsys.readouterr().err.split())
    with Store.open(tmp_path / "t") as store:
        store.models.register("c" * 64, name="old", location=str(resolve_model("default")))
    assert run(["search", str(image), "--store", str(tmp_path / "t")]) == 2
    assert "has changed since it was registered" in " ".join(capsys.readouterr().err.split())


def test_query_that_crashes_its_decoder_ends_with_one_line(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vestigo_models.inference.images._decode_named", hostile.crash)
    image = str(archive / "p0c0.png")
    assert run(["search", image, "--store", str(archive / "store")]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert f"{image} crashed its decoder (SIGSEGV); convert it (decoder-crashed)" in message
    assert "Traceback" not in message


def test_unknown_camera_is_refused_by_every_command(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.txt").write_text(f"{crop_of(0, 0)}\n", encoding="utf-8-sig")
    commands = (
        ["search", crop_of(0, 0)],
        ["rank", str(tmp_path / "ids.txt"), "--name", "wanted"],
        ["store", "export", str(tmp_path / "out")],
        ["label", "push", "--project", "p", "--dry-run"],
    )
    for command in commands:
        assert run([*command, "--store", str(archive / "store"), "--cameras", "cam00"]) == 2
        printed = capsys.readouterr()
        assert printed.err.strip() == 'vestigo: Unknown camera "cam00". Cameras in this store: cam0, cam1, cam2.'
        assert printed.out == ""
    assert run([*commands[1], "--store", str(archive / "store"), "--cameras", "cam0,cam1"]) == 0


def test_crops_without_time_are_counted(
    tmp_path: Path, package: ModelPackage, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = Extractor(package).extract([picture(0, 0)] * 3)
    columns = feature_columns(outputs.descriptors, outputs.probabilities, outputs.areas)
    times = (START, None, None)
    rows = [
        crop(
            f"{number}.jpg",
            camera="gate",
            time=time,
            tracklet=f"t{number}",
            image=encode_jpeg(picture(0, 0)),
            **{name: column[number].as_py() for name, column in columns.items()},
        )
        for number, time in enumerate(times)
    ]
    fill(tmp_path / "store", package, rows)
    cv2.imwrite(str(tmp_path / "q.png"), picture(0, 0))
    names = [str(tmp_path / "q.png")]
    (tmp_path / "ids.txt").write_text(rows[0]["crop_id"])
    span = ["--store", str(tmp_path / "store"), "--from", "2020-01-01"]
    commands = (
        ["search", *names],
        ["search", "--where", "hat=no"],
        ["rank", str(tmp_path / "ids.txt"), "--name", "wanted"],
        ["label", "push", "--project", "p", "--dry-run"],
        ["store", "export"],
    )
    sentence = "2 crops have no time and were left out; give --start when indexing"
    for number, command in enumerate(commands):
        folder = [[str(tmp_path / f"out{number}{kind}")] if command[-1] == "export" else [] for kind in "ab"]
        assert run([*command, *folder[0], *span]) == 0
        assert sentence in capsys.readouterr().out
        assert run([*command, *folder[1], *span, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["without_time"] == 2
    assert run(["search", *names, *span[:2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["without_time"] == 0
    assert run([*commands[3], *span[:3], "2030-01-01"]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
