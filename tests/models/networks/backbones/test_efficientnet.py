"""EfficientNet-Lite0 as a backbone: its maps, and that the shipped weights compute what their source computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vestigo_models.errors import ModelError
from vestigo_models.networks.efficientnet import EfficientNetLite0

REFERENCE = [
    (0.3784, 8.4517, -7.8238, -0.8726),
    (0.2383, 11.3265, 9.3130, 5.6068),
    (-0.0513, 10.3836, -23.4510, 9.8098),
    (0.0527, 5.8144, 4.1736, -0.6815),
    (-0.0049, 2.8060, -4.3636, -1.4280),
]
"""Mean, deviation and two values of four maps and of the last stage in the source's network
(`efficientnet-lite-pytorch` 0.1.0), computed in float32 on `pattern()`, with a stride of 1 at block 11."""


def pattern() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(64.0), indexing="ij")
    red = torch.sin(rows / 9) + torch.cos(columns / 7)
    green = torch.cos(rows / 5) * torch.sin(columns / 11)
    return torch.stack([red, green, torch.sin((rows + columns) / 13)])[None]


def test_maps_have_declared_sizes() -> None:
    backbone = EfficientNetLite0()
    maps = backbone(torch.zeros(2, 3, *backbone.native_size))
    assert len(maps) == len(backbone.channels) == len(backbone.strides)
    for stage_map, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert tuple(stage_map.shape) == (2, channels, 128 // stride, 64 // stride)


def test_shipped_weights_compute_what_their_source_computes() -> None:
    backbone = EfficientNetLite0()
    assert backbone.shipped is not None
    backbone.load_imagenet(str(backbone.shipped))
    last_stage: list[torch.Tensor] = []
    backbone.stages[-1].register_forward_hook(lambda _module, _inputs, output: last_stage.append(output))
    with torch.no_grad():
        maps = [*backbone.eval()(pattern())[:-1], *last_stage]
    for stage_map, (mean, deviation, value, last) in zip(maps, REFERENCE, strict=True):
        tolerance = 0.02 * deviation  # The weights are rounded to float16.
        assert float(stage_map.mean()) == pytest.approx(mean, abs=tolerance)
        assert float(stage_map.std()) == pytest.approx(deviation, abs=tolerance)
        assert float(stage_map[0, 3, 1, 2]) == pytest.approx(value, abs=tolerance)
        assert float(stage_map[0, -1, -1, -1]) == pytest.approx(last, abs=tolerance)


def test_weights_of_another_network_raise(tmp_path: Path) -> None:
    save_file({"stem.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"the checkpoint lacks .* give ImageNet weights of an EfficientNet-Lite0"):
        EfficientNetLite0().load_imagenet(str(tmp_path))
