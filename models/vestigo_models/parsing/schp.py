"""Self-Correction Human Parsing with public checkpoints: A-CE2P on ResNet-101 (Li et al., TPAMI 2020).

Modules have the names of the checkpoints, so that these load without conversion. They were trained with in-place
activated batch normalisation: it uses the absolute value of its weight and, except in the backbone, ends in a leaky
ReLU. `load_public` and `ActivatedNorm` are equivalent to it (docs/method.md, "Parsing and region merge").
"""

from collections.abc import Mapping, Sequence
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.arrays import Float32Array, Float64Array, UInt8Array
from vestigo_models.errors import ModelError
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise
from vestigo_models.networks.weights import read_weights, weights_digest
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.label_maps import LABEL_SETS, ParserLabels, merge

DEPTHS = (3, 4, 23, 3)
SLOPE = 0.01
PREFIX = "module."


class ActivatedNorm(nn.BatchNorm2d):
    """BatchNorm2d followed by a leaky ReLU, as in in-place activated normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        return functional.leaky_relu(super().forward(x), SLOPE)


class DilatedBottleneck(nn.Module):
    """A ResNet bottleneck with dilation."""

    def __init__(self, channels: int, middle: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        out = 4 * middle
        self.conv1 = nn.Conv2d(channels, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to B x 4 middle x H/stride x W/stride."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return functional.relu(out + (x if self.downsample is None else self.downsample(x)))


class PyramidPooling(nn.Module):
    """Pyramid pooling of PSPNet: features and their means over grids of 1, 2, 3 and 6 cells a side."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        grids = (1, 2, 3, 6)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(grid), *_projection(channels, out)) for grid in grids
        )
        self.bottleneck = _projection(channels + len(grids) * out, out, kernel=3)

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to B x out x H x W."""
        context = [enlarge(stage(x), x) for stage in self.stages]
        pooled: Tensor = self.bottleneck(torch.cat([*context, x], dim=1))
        return pooled


class EdgeBranch(nn.Module):
    """Features of the edges between regions, from C2 to C4."""

    def __init__(self, channels: Sequence[int], middle: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (_projection(width, middle) for width in channels)
        # The edge classifier is unused, but is in the checkpoints.
        self.conv4 = nn.Conv2d(middle, 2, 3, padding=1)
        self.conv5 = nn.Conv2d(6, 2, 1)

    def forward(self, c2: Tensor, c3: Tensor, c4: Tensor) -> Tensor:
        """Maps of strides 4, 8 and 16 to B x 3 middle x H/4 x W/4."""
        fine = self.conv1(c2)
        return torch.cat([fine, enlarge(self.conv2(c3), fine), enlarge(self.conv3(c4), fine)], dim=1)


class Decoder(nn.Module):
    """Combines context and fine detail; `conv4`, the classifier without edges, is unused."""

    def __init__(self, context: int, fine: int, middle: int, detail: int, classes: int) -> None:
        super().__init__()
        self.conv1 = _projection(context, middle)
        self.conv2 = _projection(fine, detail)
        self.conv3 = nn.Sequential(*_projection(middle + detail, middle), *_projection(middle, middle))
        self.conv4 = nn.Conv2d(middle, classes, 1)

    def forward(self, context: Tensor, c2: Tensor) -> Tensor:
        """B x context x h x w and C2 to features B x middle x H/4 x W/4."""
        detail = self.conv2(c2)
        features: Tensor = self.conv3(torch.cat([enlarge(self.conv1(context), detail), detail], dim=1))
        return features


class CE2P(nn.Module):
    """A-CE2P for `classes` labels; `width` scales its channels (64 in the public model) and `depths` its stages."""

    def __init__(self, classes: int, *, width: int = 64, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.classes = classes
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.layer1 = _layer(2 * width, width, depths[0], stride=1, dilation=1)
        self.layer2 = _layer(4 * width, 2 * width, depths[1], stride=2, dilation=1)
        self.layer3 = _layer(8 * width, 4 * width, depths[2], stride=2, dilation=1)
        self.layer4 = _layer(16 * width, 8 * width, depths[3], stride=1, dilation=2)
        middle = 4 * width
        self.context_encoding = PyramidPooling(32 * width, 8 * width)
        self.edge = EdgeBranch((4 * width, 8 * width, 16 * width), middle)
        self.decoder = Decoder(8 * width, 4 * width, middle, 3 * width // 4, classes)
        # Spelt like this in the checkpoints.
        self.fushion = nn.Sequential(*_projection(4 * middle, middle), nn.Dropout2d(0.1), nn.Conv2d(middle, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """B x 3 x S x S, BGR and normalised, to logits of the fusion branch, B x classes x S/4 x S/4 (rounded up)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        x = functional.relu(self.bn3(self.conv3(x)))
        c2 = self.layer1(functional.max_pool2d(x, 3, stride=2, padding=1))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        features = self.decoder(self.context_encoding(self.layer4(c4)), c2)
        logits: Tensor = self.fushion(torch.cat([features, self.edge(c2, c3, c4)], dim=1))
        return logits

    def load_public(self, state: Mapping[str, Tensor]) -> None:
        """Load the `state_dict` of a public checkpoint.

        Raises:
            ModelError: If names or shapes differ from this network.
        """
        loaded = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
        for name, module in self.named_modules():
            key = f"{name}.weight"
            if isinstance(module, nn.BatchNorm2d) and key in loaded:
                loaded[key] = loaded[key].abs() + module.eps
        own = self.state_dict()
        counters = {name for name in own if name.endswith("num_batches_tracked")}
        missing = sorted(own.keys() - loaded.keys() - counters)
        unknown = sorted(loaded.keys() - own.keys())
        shapes = [name for name in own.keys() & loaded.keys() - counters if own[name].shape != loaded[name].shape]
        if missing or unknown or shapes:
            first = (missing or unknown or sorted(shapes))[0]
            raise ModelError(
                f"not a checkpoint of Self-Correction Human Parsing: {len(missing)} weights are missing, "
                f"{len(unknown)} unknown, {len(shapes)} of another shape (the first is {first})"
            )
        self.load_state_dict({**own, **loaded})


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Return `x` resized to the height and width of `like`, with aligned corners."""
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)


def _projection(channels: int, out: int, kernel: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, ActivatedNorm(out))


def _layer(channels: int, middle: int, blocks: int, *, stride: int, dilation: int) -> nn.Sequential:
    first = DilatedBottleneck(channels, middle, stride=stride, dilation=dilation)
    others = (DilatedBottleneck(4 * middle, middle, stride=1, dilation=dilation) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)


# The network was trained on BGR.
MEAN, STD = IMAGENET_MEAN[::-1], IMAGENET_STD[::-1]

INPUT_SIDE = {"lip": 473, "atr": 512, "pascal": 512}
"""Side of the square input of each public model, in pixels."""


class SchpParser(Parser):
    """A parser from a public checkpoint."""

    def __init__(self, network: CE2P, label_set: ParserLabels, *, device: str = "cpu") -> None:
        self.network = network.eval().to(device)
        self.label_set, self._device = label_set, device
        self.digest = weights_digest({"algorithm": "schp-1", "labels": label_set.name}, network.state_dict())

    @classmethod
    def load(cls, ref: str, labels: str | None = None, *, device: str = "cpu") -> Self:
        """Load a checkpoint from a file; without `labels`, its number of classes determines the label set.

        Raises:
            ModelError: If the file cannot be read, or holds another network or label set.
        """
        state = read_weights(ref)
        head = state.get(f"{PREFIX}decoder.conv4.weight", state.get("decoder.conv4.weight"))
        if head is None:
            raise ModelError(f"{ref}: not a checkpoint of Self-Correction Human Parsing, it has no decoder")
        by_size = {len(label_set): label_set for label_set in LABEL_SETS.values()}
        label_set = by_size.get(len(head)) if labels is None else LABEL_SETS.get(labels)
        if label_set is None or len(label_set) != len(head):
            known = ", ".join(f"{name} ({len(entry)})" for name, entry in LABEL_SETS.items())
            raise ModelError(f"{ref}: {len(head)} classes, not those of {labels or 'a known label set'}: {known}")
        network = CE2P(len(label_set))
        try:
            network.load_public(state)
        except ModelError as error:
            raise ModelError(f"{ref}: {error}") from None
        return cls(network, label_set, device=device)

    @torch.inference_mode()
    def parse(self, image: UInt8Array, _name: str) -> Parsed:
        """Parse one image, see `Parser.parse`."""
        side = INPUT_SIDE[self.label_set.name]
        matrix = fit(image.shape[:2], side)
        bgr = np.ascontiguousarray(image[..., ::-1])
        square = cv2.warpAffine(bgr, matrix, (side, side), flags=cv2.INTER_LINEAR).astype(np.uint8)
        logits = self.network(normalise(square[None], MEAN, STD, self._device))
        full = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=True)
        scores = undo(full[0].permute(1, 2, 0).float().cpu().numpy(), matrix, image.shape[:2])
        labels = scores.argmax(axis=-1).astype(np.uint8)
        probabilities = torch.from_numpy(scores).softmax(dim=-1).numpy()
        return Parsed(labels=labels, regions=merge(probabilities, self.label_set))


def fit(size: tuple[int, ...], side: int) -> Float64Array:
    """Return the affine map (2, 3) that centres an image (height, width) in a square, with its longer side filled."""
    height, width = size
    scale = (side - 1) / max(height - 1, width - 1, 1)
    middle = (side - 1) / 2
    return np.array([[scale, 0, middle - scale * (width - 1) / 2], [0, scale, middle - scale * (height - 1) / 2]])


def undo(square: Float32Array, matrix: Float64Array, size: tuple[int, ...]) -> Float32Array:
    """Return the values of a square (S, S, classes) at the pixels of the image that `fit` mapped into it."""
    height, width = size
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # OpenCV warps at most four channels at a time.
    planes = [cv2.warpAffine(square[..., k], matrix, (width, height), flags=flags) for k in range(square.shape[-1])]
    return np.stack(planes, axis=-1).astype(np.float32)
