"""Refit the attribute heads of a model on labelled datasets, with rare values weighted more; nothing else changes.

    python -m tools.refit_attributes small refitted --data people-4 people-5 --balance 1 --pull 7000

All images of training, query and gallery that have labels are used. Weights are rounded to float16. The result has no
calibration of its filter: `vestigo calibrate --model refitted --data DATASET` makes one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.recognise import load_dataset
from vestigo_models.errors import VestigoError
from vestigo_models.inference.images import decode_image
from vestigo_models.inference.package import ModelPackage, resolve_model
from vestigo_models.training.head_refit import AttributeTargets, attribute_heads, extract_pooled, fit_heads
from vestigo_models.training.losses import class_weights


def main() -> None:
    """Write the package with the new heads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a package folder, or the name of a model that ships with Vestigo")
    parser.add_argument("out", type=Path, help="folder of the package that is written")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="datasets with labels of attributes")
    parser.add_argument("--balance", type=float, default=1.0, help="see attr_balance of a training")
    parser.add_argument("--pull", type=float, default=7000.0, help="how strongly the former heads are kept")
    arguments = parser.parse_args()
    try:
        package = ModelPackage.from_pretrained(resolve_model(arguments.model))
        refit(package, arguments.data, arguments.balance, arguments.pull).save_pretrained(arguments.out, half=True)
    except VestigoError as error:
        raise SystemExit(str(error)) from None


def refit(package: ModelPackage, sources: list[Path], balance: float, pull: float) -> ModelPackage:
    """Return a package with heads that fit the labels of datasets."""
    _, _, schema = attribute_heads(package)
    pooled, labels = [], []
    for source in sources:
        dataset = load_dataset(source, schema=schema)
        for split in (dataset.train, dataset.query, dataset.gallery):
            rows = np.flatnonzero((split.labels >= 0).any(axis=1))
            pooled.append(extract_pooled(package, images(split.paths, rows)))
            labels.append(split.labels[rows])
    found = np.concatenate(labels)
    targets = AttributeTargets.from_labels(found, schema)
    weights = class_weights(found, schema, balance)
    return fit_heads(package, np.concatenate(pooled), targets, pull=pull, class_weights=weights)


def images(paths: tuple[Path, ...], rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Decode the images in some rows."""
    return (decode_image(paths[row].read_bytes()) for row in rows)


if __name__ == "__main__":
    main()
