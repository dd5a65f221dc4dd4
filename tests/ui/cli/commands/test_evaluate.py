from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.random_models import random_model
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import Split
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.inference.package import ModelPackage
from vestigo_ui.cli.main import run

Writer = Callable[..., Path]


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    assert run(["evaluate", *map(str, arguments), "--device", "cpu", "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def naive_map(root: Path) -> float:
    """mAP of the shipped model by loops over equation 14, each crop put through it alone."""
    extractor = Extractor(ModelPackage.from_pretrained("default"))
    dataset = load_dataset(root)

    def people(split: Split) -> list[tuple[int, int, Descriptors]]:
        rows = zip(split.pids.tolist(), split.camids.tolist(), split.paths, strict=True)
        return [(pid, cam, extractor.extract([read_image(path)]).descriptors) for pid, cam, path in rows]

    aps = []
    gallery = people(dataset.gallery)
    for pid, cam, query in people(dataset.query):
        ranked = []
        for place, (other, camera, held) in enumerate(gallery):
            if (other, camera) != (pid, cam):
                terms = query.always + int((query.visible[0] & held.visible[0]).sum())
                product = query.vectors[0].astype(float) @ held.vectors[0].astype(float)
                ranked.append((1 - product / terms, place, other == pid))
        hits = [rank for rank, (_, _, right) in enumerate(sorted(ranked), start=1) if right]
        aps.append(np.mean([n / rank for n, rank in enumerate(hits, start=1)]))
    return float(100 * np.mean(aps))


def test_agrees_with_naive_loop(write_dataset: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(gallery=[(-1, 1), (0, 2), (1, 1), (1, 2), (3, 1), (3, 2), (3, 3), (0, 1)])
    result = evaluate(capsys, root)
    assert result["mAP"] == pytest.approx(naive_map(root), abs=1e-6)
    assert result["queries"] == result["evaluated"] == 2
    assert result["gallery_excluded"] == {"junk": 1}
    assert result["cmc"].keys() == {"1", "5", "10"}


def test_model_without_attributes_reports_ranking_only(
    write_dataset: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = random_model(tmp_path / "plain", schema=None, regions=None)
    result = evaluate(capsys, write_dataset(), "--model", plain)
    assert (result["attributes"], result["attributes_mean"], result["attributes_balanced"]) == ({}, None, None)
    assert (result["regions"], result["regions_mean"], result["belongings_auc"]) == ({}, None, None)
    assert (result["filter"], result["comparison"], result["notes"]) == (None, None, [])


def test_single_camera_dataset_is_reported(write_dataset: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    page = "report.html"
    root = write_dataset(query=[(1, 1), (2, 1)], gallery=[(1, 1), (1, 1), (3, 1)])
    result = evaluate(capsys, root, "--html", root / page)
    assert result["mAP"] is None
    assert result["cmc"] == {"1": None, "5": None, "10": None}
    assert result["excluded"] == {"identity not in gallery": 1, "only same-camera matches": 1}
    assert "only same-camera matches" in (root / page).read_text()
    assert evaluate(capsys, root, "--protocol", "same-camera")["excluded"] == {"identity not in gallery": 1}


def test_query_does_not_match_itself(write_dataset: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    """The same name and content in both splits is the same picture; another name is another picture."""
    root = write_dataset(query=[(1, 1), (2, 1)], gallery=[(1, 1), (2, 2), (3, 1), (2, 1)])
    result = evaluate(capsys, root, "--protocol", "all")
    assert result["excluded"] == {"only the query image itself": 1}
    assert result["mAP"] == 100.0


def test_unreadable_images_are_counted(write_dataset: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset()
    (root / "query" / "0001_c1s1_000000_00.jpg").write_bytes(b"")
    (root / "bounding_box_test" / "0003_c1s1_000004_00.jpg").write_text("a text")
    result = evaluate(capsys, root, "--html", root / "report.html")
    assert result["excluded"] == {"query image unreadable (empty-file)": 1}
    assert result["gallery_excluded"] == {"junk": 1, "unreadable (not-an-image)": 1}
    assert (result["queries"], result["evaluated"]) == (2, 1)
    page = (root / "report.html").read_text()
    assert "query image unreadable (empty-file)" in page
    assert "image unreadable (not-an-image)" in page


def test_page_holds_everything_and_escapes(write_dataset: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(name="<script>alert(1)")
    evaluate(capsys, root, "--html", root / "report.html")
    page = (root / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("data:image/jpeg;base64,") >= 2 + 8
    assert "http" not in page.replace("http://www.w3.org", "")
    assert 'class="right"' in page
    assert 'class="wrong"' in page
    assert "<polyline" in page


def test_metrics_are_printed(write_dataset: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset()
    for split in ("query", "bounding_box_test"):
        (root / split / "._a.jpg").write_bytes(b"")
    assert run(["evaluate", str(root), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "mAP" in shown
    assert "passed over: 2 leftovers of macOS or Windows" in shown
    assert "not in the gallery: 1 x junk" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such folder"),
        ([".", "--format", "cuhk"], "unknown format 'cuhk'"),
        ([".", "--protocol", "any"], "'any' is not one of"),
        (["DATASET", "--filter", "perhaps"], "filter 'perhaps': give off, strict"),
        (["DATASET", "--filter", "auto", "--max-lost", "2"], "--max-lost 2: give a share"),
    ],
)
def test_usage_errors_are_one_line_with_status_2(
    write_dataset: Writer, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    dataset = str(write_dataset())
    assert run(["evaluate", *(dataset if word == "DATASET" else word for word in arguments)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_missing_model_is_refused(write_dataset: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(write_dataset()), "--model", "no-such-folder"]) == 2
    assert "no-such-folder" in capsys.readouterr().err
