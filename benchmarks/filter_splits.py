"""Measure the true matches that `--filter auto` loses: half of the identities selects the threshold, half is filtered.

vestigo render people --preset default --identities 1000 --cameras 4 --images-per-camera 2 --seed 77
python benchmarks/filter_splits.py people --splits 1000

All identities of the dataset are used, so the model must not have been trained on any. The loss of an identity depends
on its images only; a split therefore selects rows of one table of losses. Temperatures are not fitted again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from vestigo.datasets.recognise import load_dataset
from vestigo.ingest.embedding import embed_files
from vestigo_models.attribute_filter.curve import IdentifiedCrops, measure_curve
from vestigo_models.attribute_filter.record import record_filter
from vestigo_models.attribute_filter.rule import QUALITY, STRICT
from vestigo_models.attribute_filter.threshold import choose_threshold
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--splits", type=int, default=1000)
    arguments = parser.parse_args()

    package = ModelPackage.from_pretrained(arguments.model)
    assert package.schema is not None
    extractor = Extractor(package)
    dataset = load_dataset(arguments.dataset)
    splits = (dataset.train, dataset.query, dataset.gallery)
    outputs = [embed_files(split.paths, extractor) for split in splits]
    people = IdentifiedCrops(
        pids=np.concatenate([split.pids[output.rows] for split, output in zip(splits, outputs, strict=True)]),
        camids=np.concatenate([split.camids[output.rows] for split, output in zip(splits, outputs, strict=True)]),
        probabilities=np.concatenate([output.features.probabilities for output in outputs]),
    )
    curve = measure_curve(people, people, package.schema)
    print(f"{len(curve.pids)} identities, {len(people.pids)} images")
    for name, tau in (("strict", STRICT), ("quality", QUALITY)):
        column = int(np.searchsorted(curve.thresholds, tau))
        print(f"{name} {tau}: keeps {curve.kept_fractions[column]:.1%}, loses {curve.miss_rates[:, column].mean():.2%}")
    rng = np.random.default_rng(0)
    for bound in (0.01, 0.02, 0.05, 0.1):
        lost, kept = [], []
        for _ in range(arguments.splits):
            order = rng.permutation(len(curve.pids))
            calibrating, tested = np.array_split(order, 2)
            record = record_filter(
                replace(curve, miss_rates=curve.miss_rates[calibrating], pids=curve.pids[calibrating])
            )
            column = int(np.searchsorted(curve.thresholds, choose_threshold(record, bound).threshold - 1e-9))
            lost.append(curve.miss_rates[tested, column].mean())
            kept.append(curve.kept_fractions[column])
        print(
            f"auto {bound:.0%}: keeps {np.mean(kept):.1%}, loses {np.mean(lost):.2%} on average over {arguments.splits}"
            f" splits (5th to 95th percentile {np.quantile(lost, 0.05):.2%} to {np.quantile(lost, 0.95):.2%})"
        )


if __name__ == "__main__":
    main()
