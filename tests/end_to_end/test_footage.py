"""Real footage through the commands that a user types: people are found, and found again."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vestigo.store.open import Store
from vestigo_ui.cli.main import run


def run_json(*arguments: str | Path) -> dict[str, Any]:
    """Run a command in this process; a new one imports for seconds what this one has imported."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert run([*map(str, arguments), "--json"]) == 0
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


@pytest.fixture(scope="module")
def store(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("footage") / "S"
    arguments = ["index", real_data / "pedestrians.avi", "--camera", "path", "--store", store, "--json"]
    command = [sys.executable, "-m", "vestigo_ui.cli.main", *map(str, arguments)]
    indexed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert indexed.returncode == 0, indexed.stderr
    result = json.loads(indexed.stdout)
    assert (result["status"], result["quarantined"], result["frame_failures"]) == ("succeeded", 0, 0)
    assert 20 <= result["tracklets"] <= 40
    assert result["crops"] >= 4 * result["tracklets"]
    return store


@pytest.fixture(scope="module")
def tracklets(store: Path) -> dict[str, list[str]]:
    crop_ids = defaultdict(list)
    with Store.open(store) as opened:
        for batch in opened.crops.scan(["crop_id", "tracklet", "camera"]):
            for row in batch.to_pylist():
                assert row["camera"] == "path"
                crop_ids[row["tracklet"]].append(row["crop_id"])
    return crop_ids


def test_search_ranks_own_tracklet_first(store: Path, tracklets: dict[str, list[str]]) -> None:
    full = sorted(crops for crops in tracklets.values() if len(crops) == 8)
    assert len(full) >= 20
    first = []
    for crops in full:
        answer = run_json("search", crops[0], "--store", store, "--top", "5")["results"]
        assert [hit["rank"] for hit in answer] == [1, 2, 3, 4, 5]
        assert crops[0] not in {hit["crop"] for hit in answer}
        first.append(answer[0]["crop"] in crops)
    # By chance it is 7 of 207 crops. Two thirds of all crops have it, as measured; a third fewer would be a fault.
    assert np.mean(first) >= 0.45


def test_every_detection_of_tracklets_is_exported(store: Path, tracklets: dict[str, list[str]], tmp_path: Path) -> None:
    report = run_json("store", "export", "--store", store, "--out", tmp_path / "mot", "--format", "mot")
    assert [path.name for path in (tmp_path / "mot").iterdir()] == ["pedestrians.txt"]
    rows = np.loadtxt(tmp_path / "mot" / "pedestrians.txt", delimiter=",")
    assert (report["files"], report["rows"]) == (1, len(rows))
    assert sorted(set(rows[:, 1])) == list(range(1, len(tracklets) + 1))
    assert len({(frame, person) for frame, person in rows[:, :2].tolist()}) == len(rows)
    assert 1 <= rows[:, 0].min() < 10 < 780 < rows[:, 0].max() <= 795
    assert (rows[:, 7:] == -1).all()
    # The store keeps the best crops of a tracklet only.
    assert len(rows) > sum(map(len, tracklets.values()))


def test_reindexed_footage_adds_no_rows(store: Path, real_data: Path) -> None:
    before = run_json("store", "check", "--store", store)
    again = run_json("index", real_data / "pedestrians.avi", "--camera", "path", "--store", store)
    assert (again["skipped"], again["crops"]) == (again["inputs"], 0)
    after = run_json("store", "check", "--store", store)
    assert after["intact"]
    assert (after["digest"], after["crops"]) == (before["digest"], before["crops"])
