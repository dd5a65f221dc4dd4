"""Measure a model's time for one crop on one thread, compared with the baseline on the same backbone in the same run.

python benchmarks/extraction.py --crops 512 --rounds 9

The rounds alternate; the medians of processor time and of the ratio are reported. The crops are 60 to 240 pixels high
and decoded in memory: resizing, network and descriptor are timed, files and JPEG are not. Weights do not affect the
time, so the baseline has random ones.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from numpy.typing import NDArray

from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.package import ModelPackage, PackageConfig
from vestigo_models.networks.build import build_network
from vestigo_models.networks.config import NetworkConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--crops", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    heights = rng.integers(60, 240, arguments.crops)
    crops = [rng.integers(0, 256, (h, h // 2, 3), dtype=np.uint8) for h in heights]
    model = ModelPackage.from_pretrained(arguments.model)
    plain = NetworkConfig(backbone=model.config.network.backbone)
    baseline = ModelPackage(
        PackageConfig(name="baseline", network=plain, input_size=model.input_size), build_network(plain)
    )
    extractors = [Extractor(package, arguments.device, arguments.batch_size) for package in (model, baseline)]
    for extractor in extractors:
        extractor.extract(crops[: arguments.batch_size])
    rounds = [[milliseconds(extractor, crops) for extractor in extractors] for _ in range(arguments.rounds)]
    ours, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(a / b for a, b in rounds)
    print(f"{model.name}: {ours:.2f} ms a crop, baseline: {theirs:.2f} ms, ratio {ratio:.2f}")


def milliseconds(extractor: Extractor, crops: list[NDArray[np.uint8]]) -> float:
    """Return the processor time for one crop, milliseconds."""
    started = time.process_time()
    extractor.extract(crops)
    return 1000 * (time.process_time() - started) / len(crops)


if __name__ == "__main__":
    main()
