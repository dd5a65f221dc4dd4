"""Run every command that is cheap on fixed footage and return what must stay as it is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from tools.fixed_points import numbers, program
from tools.fixed_points.misuse import MISUSES
from tools.fixed_points.shapes import key_types
from tools.fixed_points.sql_schema import reflect

TESTS = program.ROOT / "tests"
RECORDED = TESTS / "fixed_points.json"
FOOTAGE = TESTS / "fixed_footage.zip"
"""People as `vestigo render` writes them, and the video of one camera: rendering differs between processors."""
OLD_STORES = TESTS / "old_store"
"""A zipped store for each schema revision, made by the version of that time."""
QUERY = "people/query/0013_c1s1_000445_00.jpg"
SMALL = re.compile(r"(/00(0[1-4]|1[3-6])_[^/]*|\.mat|\.json)$")
"""Four people to train on and four to test on: what takes long runs on these."""
INDEX = ("--executor", "inline", "--device", "cpu")
START = ("--start", "2026-05-01T08:00:00")
TRAINING = "network: {backbone: tiny, pooling: average}\nbatch_identities: 4\nimages_per_identity: 2\nepochs: 1\n"


class Session:
    """Commands that run one after the other in the current folder."""

    def __init__(self) -> None:
        self.shapes: dict[str, dict[str, str]] = {}
        """Types of the JSON keys, by the name of the case."""

    def __call__(self, name: str, *arguments: str) -> dict[str, Any]:
        """Run one command with `--json`, keep the types of its keys under `name`, and return its result."""
        result = program.run_json(*name.split(), *arguments)
        self.shapes[" ".join([name, *(word for word in arguments if word.startswith("--"))])] = key_types(result)
        return result


def collect() -> dict[str, Any]:
    """Return the current values of all fixed points, as JSON types.

    Returns:
        `numbers`, `options`, `json`, `errors`, `schema` and `old_store`, which hold on every machine, and `digests`,
        which hold on machines with the same processor.
    """
    with tempfile.TemporaryDirectory() as folder, _working_in(Path(folder)):
        with zipfile.ZipFile(FOOTAGE) as archive:
            archive.extractall()
            archive.extractall("small", [name for name in archive.namelist() if SMALL.search(name)])
        vestigo = Session()
        found = {"render": _render(vestigo), **_index(vestigo), **_evaluate(vestigo), **_other_results(vestigo)}
        digests = {name: values.pop("digest") for name, values in found.items() if "digest" in values}
        old = {path.stem: _old_store(vestigo, path) for path in sorted(OLD_STORES.glob("*.zip"))}
        return {
            "numbers": found,
            "options": program.options(),
            "json": vestigo.shapes,
            "errors": _errors(),
            "schema": reflect(Path("store")),
            "old_store": old,
            "digests": digests,
        }


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Make `folder` the current one, without settings of the user's own."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("VESTIGO_", "LABEL_STUDIO_"))}
    with mock.patch.dict(os.environ, {**settings, "XDG_CONFIG_HOME": str(folder / "config")}, clear=True):
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _render(vestigo: Session) -> dict[str, Any]:
    small = ("--preset", "small", "--identities", "2", "--cameras", "1", "--images-per-camera", "1")
    result = vestigo("render", "rendered", *small, "--video-seconds", "0.5", "--seed", "3")
    return {**result, **numbers.of_rendering(Path("rendered"))}


def _index(vestigo: Session) -> dict[str, Any]:
    Path("broken.jpg").write_text("no image\n")
    vestigo("index", "small/people", "videos", "--store", "store", *INDEX, "--dry-run")
    images = vestigo("index", "people", "--store", "store", *INDEX)
    image_crops = numbers.of_crops(Path("store"))
    image_digest = vestigo("store check", "--store", "store")["digest"]
    video = vestigo("index", "videos/camera-1.mp4", "broken.jpg", "--store", "video", *INDEX, *START)
    checked = program.run_json("store", "check", "--store", "video")
    again = vestigo("index", "people", "--store", "store", *INDEX)
    found = vestigo("search", QUERY, "--store", "store", "--device", "cpu", "--top", "8")
    fused = vestigo(
        "search", found["results"][0]["crop"], found["results"][1]["crop"], "--store", "store", "--top", "5"
    )
    where = vestigo("search", "--where", "backpack=yes", "--store", "store", "--top", "5")
    strict = vestigo("search", QUERY, "--store", "store", "--filter", "strict", "--device", "cpu", "--top", "5")
    reranked = vestigo("search", QUERY, "--store", "store", "--rerank", "--device", "cpu", "--top", "5")
    return {
        "index images": {**numbers.counts(images), "crops found": image_crops, "digest": image_digest},
        "index video": {
            **numbers.counts(video),
            "digest": checked["digest"],
            "crops found": numbers.of_tracklets(Path("video")),
        },
        "index again": numbers.counts(again),
        "search": numbers.of_results(found),
        "search two views": numbers.of_results(fused),
        "search where": numbers.of_results(where),
        "search strict": numbers.of_results(strict),
        "search reranked": numbers.of_results(reranked),
    }


def _evaluate(vestigo: Session) -> dict[str, Any]:
    vestigo("datasets show", "people")
    plain = vestigo("evaluate", "people", "--device", "cpu")
    strict = vestigo("evaluate", "people", "--device", "cpu", "--filter", "strict")
    soft = program.run_json("evaluate", "people", "--device", "cpu", "--filter", "soft")
    reranked = program.run_json("evaluate", "people", "--device", "cpu", "--rerank")
    return {
        "evaluate": numbers.of_evaluation(plain),
        "evaluate strict": numbers.of_evaluation(strict, filtered=True),
        "evaluate soft": numbers.of_evaluation(soft, filtered=True),
        "evaluate reranked": numbers.of_evaluation(reranked),
    }


def _other_results(vestigo: Session) -> dict[str, Any]:
    numbers.write_features(Path("features.parquet"))
    score = vestigo("score", "features.parquet")
    reranked = program.run_json("score", "features.parquet", "--rerank", "--distance", "euclidean")
    regions = vestigo("regions", "small/people/query", "--fls", "--device", "cpu", "--out", "maps")
    parsed = vestigo("regions", "small/people/query", "--device", "cpu", "--out", "parsed")
    judged = vestigo(
        "regions", "small/people", "--split", "query", "--fls", "--judge", "--device", "cpu", "--out", "judged"
    )
    ranked = vestigo("rank", "people", "--name", "people", "--store", "store", "--device", "cpu")
    vestigo("rank", "--each-tracklet", "--name", "tracklets", "--store", "video")
    runs = vestigo("runs list", "--store", "store")["runs"]
    vestigo("runs resume", runs[0]["run"], "--store", "store")
    failed = program.run_json("runs", "list", "--store", "video")["runs"]
    vestigo("runs show", failed[0]["run"], "--store", "video")
    vestigo("runs retry", failed[0]["run"], "--store", "video")
    vestigo("regions", failed[0]["run"], "--fls", "--store", "video", *INDEX)
    Path("training.yaml").write_text(TRAINING, encoding="utf-8")
    train = ("--data", "small/people", "--out", "trained", "--seed", "1", "--device", "cpu")
    trained = vestigo("train", "training.yaml", *train)
    parser = vestigo("train-parser", "--data", "small/people", "--out", "parser", "--epochs", "1", "--device", "cpu")
    vestigo("models list", "--store", "store")
    vestigo("models show", "default", "--store", "store")
    vestigo("models compare", "default", "default", "--data", "small/people", "--store", "store", "--device", "cpu")
    vestigo("models promote", "default", "--force", "--reason", "first", "--store", "store")
    vestigo("models rollback", "--reason", "back", "--store", "store")
    vestigo("store vacuum", "--store", "store")
    vestigo("store migrate", "--store", "store")
    exported = vestigo("store export", "exported", "--store", "store")
    vestigo("cameras list", "--store", "store")
    vestigo("cameras set", "c1", "--clock-offset", "1.5", "--store", "store")
    vestigo("label sets", "--store", "store")
    vestigo("audit show", "--store", "store")
    vestigo("audit verify", "--store", "store")
    vestigo("ui user list")
    program_status = program.run("doctor", "--json")
    vestigo.shapes["doctor"] = key_types(numbers.parsed(program_status.stdout))
    return {
        "score": numbers.without_times(score),
        "score reranked": numbers.without_times(reranked),
        "regions": {**numbers.counts(regions), "areas": numbers.of_label_maps(Path("maps"))},
        "regions of the parser": {**numbers.counts(parsed), "areas": numbers.of_label_maps(Path("parsed"))},
        "regions judged (percent)": judged["judged"],
        "rank": numbers.counts(ranked),
        "train": {"epochs": trained["epochs"], "losses": trained["losses"]},
        "train-parser": {"epochs": parser["epochs"], "losses": parser["losses"]},
        "export": numbers.counts(exported),
    }


def _old_store(vestigo: Session, path: Path) -> dict[str, Any]:
    """Return what is read from a store of an earlier version; nothing is computed by a network."""
    store = path.stem
    with zipfile.ZipFile(path) as archive:
        archive.extractall(store)
    program.run("store", "migrate", "--store", store)
    checked = vestigo("store check", "--store", store)
    crops = numbers.of_crops(Path(store))
    runs = vestigo("runs list", "--store", store)["runs"]
    vestigo("runs show", runs[0]["run"], "--store", store)
    query = min(crops)
    precision = vestigo("precision", "--store", store)
    values = {
        "check": {key: checked[key] for key in ("intact", "crops", "digest", "runs", "files")},
        "crops": crops,
        "runs": [numbers.counts(run) | {"run": run["run"], "status": run["status"]} for run in runs],
        "cameras": vestigo("cameras list", "--store", store),
        "audit": vestigo("audit verify", "--store", store),
        "search": numbers.of_results(vestigo("search", query, "--store", store)),
        "serving": vestigo("models list", "--store", store)["serving"],
        "precision": precision["attributes"],
        "label status": vestigo("label status", "--store", store, "--project", "p"),
        "label sets": vestigo("label sets", "--store", store),
    }
    vestigo("label export", "--store", store, "--out", "labels.csv")
    vestigo("label import", "labels.csv", "--store", store, "--project", "files")
    vestigo("label push", "--store", store, "--project", "next", "--budget", "2", "--unit", "crop", "--dry-run")
    small = ("--replay", "10", "--device", "cpu", "--no-promote")
    retrained = vestigo("retrain", "--store", store, "--base", "default", "--project", "p", *small)
    vestigo("calibrate", "--model", retrained["folder"], "--data", "small/people", "--device", "cpu")
    values["exported labels"] = hashlib.sha256(Path("labels.csv").read_bytes()).hexdigest()
    return values


def _errors() -> dict[str, Any]:
    """Return the exit status and the number of lines on standard error of wrong usages."""
    Path("text.txt").write_text("text\n", encoding="utf-8")
    found = {}
    for line in MISUSES:
        completed = program.run(*line.replace("QUERY", QUERY).split())
        found[line] = {
            "status": completed.status,
            "lines": len(completed.stderr.strip().splitlines()),
            "traceback": "Traceback" in completed.stderr,
            "output": bool(completed.stdout.strip()),
        }
    return found
