from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import ResNetConfig, ResNetForImageClassification

from tests.support import hostile
from vestigo_models.errors import ModelError
from vestigo_models.networks import weights
from vestigo_models.networks.backbones import ResNet50, Tiny, to_backbone_names
from vestigo_models.networks.build import GeneralisedMean, build_network
from vestigo_models.networks.config import NetworkConfig
from vestigo_models.networks.pickled import read_pickled


def small_config() -> ResNetConfig:
    return ResNetConfig(embedding_size=8, hidden_sizes=[16, 32, 48, 64], depths=[1, 2, 1, 1])


@pytest.fixture(scope="module")
def pretrained() -> ResNetForImageClassification:
    torch.manual_seed(1)
    model = ResNetForImageClassification(small_config()).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def torchvision_names(model: ResNetForImageClassification) -> dict[str, torch.Tensor]:
    """Return the checkpoint with the names of torchvision."""
    ours = model.resnet
    named: dict[str, torch.Tensor] = {}

    def put(convolution_layer: torch.nn.Module, convolution: str, norm: str) -> None:
        named[f"{convolution}.weight"] = convolution_layer.convolution.weight.data
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            named[f"{norm}.{leaf}"] = getattr(convolution_layer.normalization, leaf).data

    put(ours.embedder.embedder, "conv1", "bn1")
    for s, stage in enumerate(ours.encoder.stages):
        for b, block in enumerate(stage.layers):
            for c in range(3):
                put(block.layer[c], f"layer{s + 1}.{b}.conv{c + 1}", f"layer{s + 1}.{b}.bn{c + 1}")
            if b == 0:
                put(block.shortcut, f"layer{s + 1}.{b}.downsample.0", f"layer{s + 1}.{b}.downsample.1")
    named["fc.weight"] = torch.zeros(1000, 64)
    named["fc.bias"] = torch.zeros(1000)
    return named


def same_maps(backbone: ResNet50, pretrained: ResNetForImageClassification) -> None:
    x = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = backbone.eval()(x)
        theirs = pretrained.resnet(x, output_hidden_states=True).hidden_states
    # Up to the stage whose stride BoT changes, both are the same network.
    for index in range(3):
        torch.testing.assert_close(ours[index], theirs[index + 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(256, 128), (128, 64)])
def test_shapes_of_resnet50(size: tuple[int, int]) -> None:
    backbone = ResNet50(small_config())
    maps = backbone(torch.zeros(1, 3, *size))
    for feature_map, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert feature_map.shape == (1, channels, size[0] // stride, size[1] // stride)


def test_resnet50_has_published_size() -> None:
    network = build_network(NetworkConfig(backbone="resnet50"), identities=7)
    assert network.dims == {"global": 2048}
    assert network.backbone.channels == (256, 512, 1024, 2048)
    parameters = sum(p.numel() for p in network.backbone.parameters())
    assert parameters == 23_508_032  # torchvision's resnet50 without its classifier


def test_shapes_of_tiny() -> None:
    backbone = Tiny()
    maps = backbone(torch.zeros(2, 3, *backbone.native_size))
    assert tuple(maps[0].shape[2:]) == (64, 32)
    for feature_map, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert feature_map.shape == (2, channels, 128 // stride, 64 // stride)


@pytest.mark.parametrize("backbone", ["tiny"])
@pytest.mark.parametrize("pooling", ["average", "gem"])
def test_baseline(backbone: str, pooling: str) -> None:
    config = NetworkConfig.model_validate({"backbone": backbone, "pooling": pooling})
    network = build_network(config, identities=5)
    x = torch.randn(4, 3, 128, 64)
    features = network(x).features["global"]
    assert features.pre.shape == features.post.shape == (4, network.dims["global"])
    assert features.logits is not None
    assert features.logits.shape == (4, 5)
    neck = network.necks["global"]
    assert neck.classifier.bias is None
    features.logits.sum().backward()
    assert neck.norm.bias.grad is None
    assert build_network(config)(x).features["global"].logits is None


def test_generalised_mean_lies_between_mean_and_maximum() -> None:
    x = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(GeneralisedMean(1.0)(x), x.mean(dim=(2, 3)))
    torch.testing.assert_close(GeneralisedMean(200.0)(x), x.amax(dim=(2, 3)), atol=0.03, rtol=0)
    naive = torch.tensor([[(sum(v**3 for v in c.flatten().tolist()) / 20) ** (1 / 3) for c in b] for b in x])
    torch.testing.assert_close(GeneralisedMean(3.0)(x), naive)


@pytest.mark.parametrize("form", ["safetensors", "folder", "torch", "torchvision", "wrapped"])
def test_imagenet_weights(form: str, pretrained: ResNetForImageClassification, tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in pretrained.state_dict().items()}
    if form == "folder":
        pretrained.save_pretrained(tmp_path)
        ref = tmp_path
    elif form == "safetensors":
        save_file(state, ref := tmp_path / "w.safetensors")
    elif form == "torch":
        torch.save(state, ref := tmp_path / "w.bin")
    elif form == "torchvision":
        save_file(torchvision_names(pretrained), ref := tmp_path / "w.safetensors")
    else:
        wrapped = {f"module.{k}": v for k, v in torchvision_names(pretrained).items()}
        torch.save({"state_dict": wrapped, "epoch": 3}, ref := tmp_path / "w.pth")
    backbone = ResNet50(small_config())
    backbone.load_imagenet(str(ref))
    same_maps(backbone, pretrained)


def test_names_of_torchvision(pretrained: ResNetForImageClassification) -> None:
    named = to_backbone_names(torchvision_names(pretrained))
    expected = {k for k in ResNet50(small_config()).body.state_dict() if not k.endswith("num_batches_tracked")}
    assert named.keys() == expected


class TestWrongWeights:
    def load(self, path: Path) -> str:
        with pytest.raises(ModelError) as error:
            ResNet50(small_config()).load_imagenet(str(path))
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_missing_and_unknown_keys(self, pretrained: ResNetForImageClassification, tmp_path: Path) -> None:
        state, path = torchvision_names(pretrained), tmp_path / "w.safetensors"
        save_file({k: v for k, v in state.items() if k != "conv1.weight"}, path)
        assert "lacks embedder.embedder.convolution.weight" in self.load(path)
        save_file({**state, "layer9.weight": torch.zeros(1)}, path)
        assert "has unknown layer9.weight" in self.load(path)
        save_file({**state, "conv1.weight": torch.zeros(1)}, path)
        assert "has other shapes for embedder" in self.load(path)

    def test_files_without_weights(self, tmp_path: Path) -> None:
        (tmp_path / "a.safetensors").write_text("no")
        assert "cannot be read" in self.load(tmp_path / "a.safetensors")
        (tmp_path / "b.safetensors").write_bytes((2**24).to_bytes(8, "little") + b"{" + b" " * 2**24)
        assert "the header of b.safetensors declares 16,777,216 bytes" in self.load(tmp_path / "b.safetensors")
        (tmp_path / "a.pth").write_text("no")
        assert "a.pth" in self.load(tmp_path / "a.pth")
        torch.save({"conv1.weight": Path()}, tmp_path / "b.pth")
        with pytest.raises(ModelError, match="holds more than plain tensors"):
            read_pickled(tmp_path / "b.pth", "b")
        torch.save([1], tmp_path / "c.pth")
        with pytest.raises(ModelError, match="not a state dict"):
            read_pickled(tmp_path / "c.pth", "c")
        (tmp_path / "empty").mkdir()
        assert "neither model.safetensors nor" in self.load(tmp_path / "empty")

    def test_checkpoint_that_crashes_torch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.pth").write_bytes(b"pickle")
        monkeypatch.setattr(weights, "read_pickled", hostile.crash)
        assert "a.pth crashed its decoder (SIGSEGV)" in self.load(tmp_path / "a.pth")

    def test_missing_checkpoint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert "no such file, folder or reachable hub id" in self.load(Path("nowhere/at-all"))
