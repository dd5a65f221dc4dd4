"""Appearance of crops: brightness, contrast, saturation and sharpness, to compare rendered with real ones.

    python benchmarks/appearance.py FOLDER... [--crops 600]

A folder holds crops of 64x128 as JPEG files, such as `bounding_box_train` of a dataset.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np


def measure(folder: Path, count: int) -> dict[str, object]:
    """Return statistics of `count` random crops: grey levels and saturations of 255."""
    paths = sorted(folder.rglob("*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(paths))[:count]
    images = [cv2.resize(cv2.imread(str(paths[index])), (64, 128)) for index in chosen]
    gray = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images]).astype(np.float32)
    saturation = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 1] for image in images])
    return {
        "crops": len(images),
        "brightness_5_50_95": np.percentile(gray, (5, 50, 95)).round().tolist(),
        "brightness_deviation_between_crops": round(float(gray.mean((1, 2)).std()), 1),
        "contrast_in_a_crop": round(float(gray.std((1, 2)).mean()), 1),
        "saturation_of_chest": float(np.median(saturation[:, 30:58, 22:42])),
        "saturation_of_border": float(np.median(saturation[:, :, :7])),
        "sharpness": round(float(np.median([cv2.Laplacian(image, cv2.CV_32F).std() for image in gray])), 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--crops", type=int, default=600)
    options = parser.parse_args()
    print(json.dumps({str(folder): measure(folder, options.crops) for folder in options.folders}, indent=1))
