"""Crops a second of the shipped model on one thread.

python benchmarks/extraction.py --crops 512
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from vestigo_models.extraction import Extractor
from vestigo_models.package import ModelPackage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--crops", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    heights = rng.integers(60, 240, arguments.crops)
    crops = [rng.integers(0, 256, (h, h // 2, 3), dtype=np.uint8) for h in heights]
    extractor = Extractor(ModelPackage.from_pretrained(arguments.model), arguments.device, arguments.batch_size)
    extractor.extract(crops[: arguments.batch_size])
    wall, cpu = time.perf_counter(), time.process_time()
    extractor.extract(crops)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{arguments.crops / wall:.0f} crops/s of wall time, {arguments.crops / cpu:.0f} crops/s of processor time")


if __name__ == "__main__":
    main()
