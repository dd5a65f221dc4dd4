from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import hostile
from vestigo.evaluation import features as feature_files
from vestigo_models.errors import DatasetError
from vestigo_ui.cli.main import run

Score = Callable[..., dict[str, Any]]


@pytest.fixture
def score(capsys: pytest.CaptureFixture[str]) -> Score:
    def call(*arguments: str | Path) -> dict[str, Any]:
        assert run(["score", *map(str, arguments), "--json"]) == 0
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return call


def write(path: Path, rows: list[tuple[int, int, str, list[float]]], **more: list[Any]) -> Path:
    columns = dict(zip(("pid", "camid", "split", "embedding"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns | more), path)
    return path


def people(count: int = 60, seed: int = 0) -> list[tuple[int, int, str, list[float]]]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(8, 6))
    rows = []
    for i in range(count):
        pid = int(rng.integers(-1, 8))
        split = "query" if i % 4 == 0 else "gallery"
        rows.append((pid, int(rng.integers(0, 3)), split, (centres[pid] + rng.normal(size=6)).tolist()))
    return rows


def naive(rows: list[tuple[int, int, str, list[float]]], distance: str) -> tuple[float, float, dict[int, float]]:
    """mAP, mINP and CMC by loops, cross-camera."""
    aps, inps, firsts = [], [], []
    for pid, camid, split, query in rows:
        if split != "query" or pid <= 0:
            continue
        ranked = []
        for place, (other, camera, kind, features) in enumerate(rows):
            if kind == "query" or other == -1 or (other == pid and camera == camid):
                continue
            a, b = np.array(query), np.array(features)
            cosine = 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
            ranked.append((cosine if distance == "cosine" else np.linalg.norm(a - b), place, other == pid))
        hits = [rank for rank, (_, _, right) in enumerate(sorted(ranked), start=1) if right]
        if hits:
            aps.append(sum(n / rank for n, rank in enumerate(hits, start=1)) / len(hits))
            inps.append(len(hits) / hits[-1])
            firsts.append(hits[0])
    return (
        100 * sum(aps) / len(aps),
        100 * sum(inps) / len(inps),
        {rank: 100 * sum(first <= rank for first in firsts) / len(firsts) for rank in (1, 5, 10)},
    )


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_agrees_with_naive_loop(score: Score, tmp_path: Path, distance: str) -> None:
    rows = people()
    result = score(write(tmp_path / "f.parquet", rows), "--distance", distance)
    mean_ap, inp, cmc = naive(rows, distance)
    assert result["mAP"] == pytest.approx(mean_ap, abs=1e-6)
    assert result["mINP"] == pytest.approx(inp, abs=1e-6)
    assert result["cmc"] == pytest.approx({str(rank): value for rank, value in cmc.items()}, abs=1e-6)
    assert result["queries"] == 15
    assert result["evaluated"] == 15 - sum(result["excluded"].values())


def test_numbers_that_do_not_exist_are_null(score: Score, tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", [(1, 0, "query", [1.0, 0.0]), (1, 0, "gallery", [1.0, 0.0])])
    result = score(path)
    assert (result["mAP"], result["mINP"]) == (None, None)
    assert result["cmc"] == {"1": None, "5": None, "10": None}
    assert result["excluded"] == {"only same-camera matches": 1}
    assert (result["attributes"], result["attributes_mean"], result["filter"], result["regions"]) == (
        {},
        None,
        None,
        {},
    )
    assert score(path, "--protocol", "same-camera")["mAP"] == 100.0
    lonely = score(write(tmp_path / "g.parquet", [(1, 0, "query", [1.0])]))
    assert lonely["excluded"] == {"identity not in gallery": 1}


def test_query_does_not_match_itself(score: Score, tmp_path: Path) -> None:
    rows = [(pid, 0, split, [float(pid), 1.0]) for split in ("query", "gallery") for pid in (1, 1, 2)]
    path = write(tmp_path / "f.parquet", rows, image=["a", "b", "c", "a", "b", "c"])
    result = score(path, "--protocol", "all")
    assert result["excluded"] == {"only the query image itself": 1}
    assert result["mAP"] == 100.0


def test_ap_and_reranking_change_metrics(score: Score, tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", people(seed=1))
    standard = score(path)
    assert score(path, "--ap", "trapezoid")["mAP"] != standard["mAP"]
    assert score(path, "--rerank")["mAP"] != standard["mAP"]


def test_metrics_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", str(write(tmp_path / "f.parquet", people()))]) == 0
    shown = capsys.readouterr().out
    assert "mAP" in shown
    assert "skipped:" in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pid": ["a", "b"], "camid": [0.5, 1.0]}, "'pid' must be a whole number, not string; column 'camid' must be"),
        ({"split": ["query", "test"]}, "split holds 'test'"),
        ({"split": ["gallery", "gallery"]}, "no row has split query"),
        ({"embedding": [[1.0, 2.0], [1.0]]}, "different lengths, from 1 to 2"),
        ({"embedding": [[1.0], [float("nan")]]}, "no finite numbers"),
        ({"embedding": [1.0, 2.0]}, "'embedding' must be a list of float"),
        ({"pid": [1, None]}, "'pid' has 1 rows without a value"),
    ],
)
def test_usage_errors_are_one_line_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, list[Any]], message: str
) -> None:
    path = write(tmp_path / "f.parquet", [(1, 0, "query", [1.0]), (1, 1, "gallery", [1.0])], **change)
    assert run(["score", str(path), "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in " ".join(shown.err.split())
    assert "Traceback" not in shown.err


def test_wrong_files_are_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.parquet").write_text("pid,camid")
    pq.write_table(pa.table({"pid": [1]}), tmp_path / "few.parquet")
    for name, message in (
        ("none.parquet", "no such file"),
        ("text.parquet", "not a Parquet file"),
        ("few.parquet", "column 'camid' (a whole number) is missing; column 'split' (text) is missing"),
    ):
        assert run(["score", str(tmp_path / name)]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "hold values that are no finite numbers"),
        (float("nan"), "hold values that are no finite numbers"),
        (float("inf"), "hold values that are no finite numbers"),
        (1e300, "too long for float64; scale them to length 1"),
    ],
)
def test_embeddings_that_are_not_finite_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float | None, message: str
) -> None:
    pid, camid, split, embedding = people()[0]
    path = write(tmp_path / "f.parquet", [*people(), (pid, camid, split, [value, *embedding[1:]])])  # type: ignore[list-item]
    assert run(["score", str(path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_repeated_column_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pq.read_table(write(tmp_path / "f.parquet", people()))
    pq.write_table(table.append_column("pid", table["camid"]), tmp_path / "f.parquet")
    assert run(["score", str(tmp_path / "f.parquet")]) == 2
    assert "there is more than one column 'pid'; keep one" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("column", ["pid", "camid", "split", "embedding"])
def test_rows_without_a_value_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str) -> None:
    table = pq.read_table(write(tmp_path / "f.parquet", people())).to_pydict()
    table[column][3] = None
    pq.write_table(pa.table(table), tmp_path / "f.parquet")
    assert run(["score", str(tmp_path / "f.parquet")]) == 2
    assert f"column '{column}' has 1 rows without a value" in " ".join(capsys.readouterr().err.split())


def test_half_precision_is_compared_as_single_precision(tmp_path: Path, score: Score) -> None:
    rows = people()
    halves = [np.array(row[3], dtype=np.float16) for row in rows]
    embeddings = {
        "half": pa.array(halves, pa.list_(pa.float16())),
        "single": pa.array([row.astype(np.float32) for row in halves], pa.list_(pa.float32())),
    }
    scores = [score(write(tmp_path / name, rows, embedding=column)) for name, column in embeddings.items()]
    assert scores[0] | {"seconds": 0} == scores[1] | {"seconds": 0}


def test_values_that_exceed_memory_are_refused_before_they_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "f.parquet", people())
    monkeypatch.setattr(feature_files, "memory_bytes", lambda: 1000)
    assert run(["score", str(path)]) == 2
    message = "values need 0.0 GiB, and this machine has 0.0; score fewer rows"
    assert message in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("the values were read"))
    with pytest.raises(DatasetError, match=message):
        feature_files._read(path, 1000)


@pytest.mark.parametrize(
    ("ending", "message"), [("crash", "crashed its decoder (SIGSEGV)"), ("raise", "cannot be read (RecursionError")]
)
def test_file_that_breaks_its_reader_is_one_line(
    ending: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow aborts, and raises errors of its own, on some damaged files."""
    path = write(tmp_path / "f.parquet", people())
    monkeypatch.setattr(feature_files, "_read", partial(hostile.fail, ending))
    assert run(["score", str(path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_rows_without_image_name_are_images_of_their_own(tmp_path: Path, score: Score) -> None:
    rows = people()
    plain = score(write(tmp_path / "plain.parquet", rows), "--protocol", "all")
    missing: list[list[str | None]] = [[None] * len(rows), [""] * len(rows)]
    missing.append([None if row % 2 else f"{row}.jpg" for row in range(len(rows))])
    for number, names in enumerate(missing):
        result = score(write(tmp_path / f"{number}.parquet", rows, image=names), "--protocol", "all")
        assert [result[key] for key in ("mAP", "cmc", "excluded")] == [plain[key] for key in ("mAP", "cmc", "excluded")]
