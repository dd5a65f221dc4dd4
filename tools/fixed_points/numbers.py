"""Results of commands without what differs between runs: times, names of runs, the last bits of floats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

PERCENT = ("mAP", "mINP", "attributes_mean", "attributes_balanced", "regions_mean")


def counts(result: dict[str, Any]) -> dict[str, int]:
    """Return the whole numbers of a result by key."""
    return {key: value for key, value in result.items() if type(value) is int}


def parsed(text: str) -> dict[str, Any]:
    """Return the one JSON object of a command's output."""
    result: dict[str, Any] = json.loads(text)
    return result


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result without how long it took; keys of metrics in percent name the unit."""
    kept = {key: value for key, value in result.items() if key not in {"seconds", "model"}}
    return {f"{key} (percent)" if key in {*PERCENT, "cmc"} else key: value for key, value in kept.items()}


def of_rendering(folder: Path) -> dict[str, Any]:
    """Return the files of a rendering, and of each image the mean colour, or the share of its labels."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    (truth,) = (pq.read_table(path) for path in files if path.suffix == ".parquet")
    return {
        "files": [path.relative_to(folder).as_posix() for path in files],
        "colours (grey levels)": {path.stem: _mean(path) for path in files if path.suffix == ".jpg"},
        "areas": of_label_maps(folder),
        "people": truth.column("pid").to_pylist(),
        "boxes (pixels)": [round(float(truth.column(name).to_numpy().mean()), 2) for name in "xywh"],
    }


def of_label_maps(folder: Path) -> dict[str, list[float]]:
    """Return the share of each label in each label map of a folder, by the map's name."""
    return {path.stem: _shares(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in sorted(folder.rglob("*.png"))}


def of_crops(store: Path) -> dict[str, Any]:
    """Return what a store holds of each crop, by crop id."""
    return {row["crop_id"]: _crop(row) for row in _rows(store)}


def of_tracklets(store: Path) -> list[dict[str, Any]]:
    """Return crops that a detector found, by tracklet.

    Their ids cover every bit of the boxes, which differ between processors; the digest of the store covers the ids.
    """
    tracklets: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(_rows(store), key=lambda row: (row["frame"], row["x"])):
        tracklets.setdefault(row["tracklet"], []).append(row)
    return [
        {
            "frames": [row["frame"] for row in members],
            "times": [str(row["time"]) for row in members],
            "boxes (pixels)": [_rounded([row[name] for name in "xywh"], 1) for row in members],
            "embedding": _summary(np.mean([row["embedding"] for row in members], axis=0)),
        }
        for members in tracklets.values()
    ]


def of_results(result: dict[str, Any]) -> dict[str, Any]:
    """Return which crops a search found, and how near they are."""
    found = result["results"]
    return {
        "crops": [row["crop"] for row in found],
        "distances": _rounded([row["distance"] for row in found]),
        "cameras": [row["camera"] for row in found],
        "inputs": [row["input"] for row in found],
        "attributes": found[0]["attributes"],
        "kept_fraction": result["kept_fraction"],
        "compared": result["compared"],
    }


def of_evaluation(result: dict[str, Any], *, filtered: bool = False) -> dict[str, Any]:
    """Return the metrics of an evaluation, in percent."""
    values: dict[str, Any] = {f"{key} (percent)": result[key] for key in (*PERCENT, "cmc", "attributes", "regions")}
    values |= {key: result[key] for key in ("queries", "evaluated", "excluded", "gallery", "gallery_excluded")}
    if filtered:
        costs = {key: result["filter"][key] for key in ("kept_fraction", "true_matches_lost")}
        values["filter"] = {"mode": result["filter"]["mode"], "threshold": result["filter"]["threshold"], **costs}
    return values


def write_features(path: Path) -> None:
    """Write features of 40 people under 2 cameras, sampled with a fixed seed, as `vestigo score` reads them."""
    rng = np.random.default_rng(5)
    pids = np.repeat(np.arange(1, 41), 4)
    features = rng.normal(size=(41, 16))[pids] + rng.normal(size=(len(pids), 16))
    table = {
        "pid": pids,
        "camid": np.tile([1, 2, 1, 2], 40),
        "split": np.tile(["query", "query", "gallery", "gallery"], 40),
        "embedding": pa.array(features.astype(np.float32).tolist(), pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(table), path)


def _rows(store: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted(store.glob("data/*/crops/*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


def _crop(row: dict[str, Any]) -> dict[str, Any]:
    names = ("input", "frame", "camera", "pid", "visible", "frame_width", "frame_height")
    return {
        **{name: row[name] for name in names},
        "time": None if row["time"] is None else str(row["time"]),
        "box (pixels)": _rounded([row[name] for name in "xywh"], 1),
        "attributes": _summary(np.array(row["attributes"])),
        "regions": _summary(np.array(row["regions"])),
        "embedding": _summary(np.array(row["embedding"])),
    }


def _summary(vector: NDArray[Any]) -> list[float]:
    """Return two fixed projections of a vector and its length."""
    places = np.arange(1, len(vector) + 1)
    projections = [float(vector @ np.cos(places * step)) for step in (1.0, 2.5)]
    return _rounded([*projections, float(np.linalg.norm(vector))])


def _mean(path: Path) -> list[float]:
    return _rounded(cv2.imread(str(path)).mean(axis=(0, 1)).tolist(), 2)


def _shares(labels: NDArray[Any] | None) -> list[float]:
    assert labels is not None
    return _rounded((np.bincount(labels.ravel(), minlength=6) / labels.size).tolist())


def _rounded(values: list[float], digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]
