"""The default detector: the person class of NanoDet-g, a small convolutional network.

Lyu, "NanoDet", 2020 (https://github.com/RangiLyu/nanodet): a backbone of cross stage partial blocks (Wang et al.,
CVPR Workshops 2020), path aggregation over three strides, and boxes as distributions over distances (Li et al.,
"Generalized focal loss", NeurIPS 2020). `packages/nanodet/ORIGIN.md` tells where the weights come from.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vestigo_models.arrays import Float64Array, UInt8Array
from vestigo_models.detection.base import Detections, suppress
from vestigo_models.errors import ModelError, first_line
from vestigo_models.networks.weights import WEIGHTS, read_weights, weights_digest

PACKAGE = Path(str(resources.files("vestigo_models") / "packages" / "nanodet"))
MEAN = (103.53, 116.28, 123.675)
STD = (57.375, 57.12, 58.395)
"""Of BGR pixels, 0..255."""
STRIDES = (8, 16, 32)
DISTANCES = 11
"""Bins of the distribution of a distance from a cell's centre to a side of the box: 0 to 10 strides."""
CHANNELS = 128
"""Channels of the maps that the heads read."""
SLOPE = 0.1
"""Of the leaky rectifiers."""


class Convolution(nn.Sequential):
    """A 3x3 convolution with its normalisation folded in, and a leaky rectifier."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(SLOPE, inplace=True))


class HalvedBlock(nn.Module):
    """Two convolutions to half of the channels each; the result has both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels // 2)
        self.second = Convolution(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to the same shape."""
        half = self.first(x)
        return torch.cat([self.second(half), half], dim=1)


class Stage(nn.Module):
    """A cross stage partial block: its result has the channels of its blocks and those that pass them by."""

    def __init__(self, channels: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.entry = Convolution(channels, channels, stride)
        self.blocks = nn.Sequential(*(HalvedBlock(channels) for _ in range(blocks)), Convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W to B x 2C x H/stride x W/stride."""
        entry = self.entry(x)
        return torch.cat([self.blocks(entry), entry], dim=1)


class NanoDetNetwork(nn.Module):
    """B x 3 x H x W normalised BGR to scores and distances of the cells of each of `STRIDES`.

    H and W are multiples of 32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Convolution(3, 32, 2), nn.MaxPool2d(3, 2, 1))
        self.stage1 = Stage(32, blocks=1, stride=1)
        self.stages = nn.ModuleList([Stage(64, 2, 2), Stage(128, 2, 2), Stage(256, 3, 2)])
        self.laterals = nn.ModuleList(nn.Conv2d(channels, CHANNELS, 1) for channels in (128, 256, 512))
        self.heads = nn.ModuleList(
            nn.Sequential(Convolution(CHANNELS, CHANNELS), nn.Conv2d(CHANNELS, 1 + 4 * DISTANCES, 1)) for _ in STRIDES
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (B, cells), 0..1, and logits of the distances (B, cells, 4, `DISTANCES`).

        The sides are left, top, right and bottom. Cells are in the order of strides, rows and columns.
        """
        x = self.stage1(self.stem(x))
        maps = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        for finer in (1, 0):
            maps[finer] = maps[finer] + functional.interpolate(maps[finer + 1], scale_factor=2.0, mode="bilinear")
        for coarser in (1, 2):
            # Bilinear interpolation to half of the sides is the mean of 2 x 2 cells.
            maps[coarser] = maps[coarser] + functional.avg_pool2d(maps[coarser - 1], 2)
        outputs = torch.cat([head(features).flatten(2) for head, features in zip(self.heads, maps, strict=True)], 2)
        logits = outputs[:, 1:].transpose(1, 2)
        return outputs[:, 0].sigmoid(), logits.reshape(*logits.shape[:2], 4, DISTANCES)


def cell_boxes(logits: Tensor, height: int, width: int) -> Tensor:
    """Return the boxes (cells, 4) x, y, w, h in pixels of an input of `height` and `width`, multiples of 32.

    `logits`, (cells, 4, `DISTANCES`), are those of `NanoDetNetwork` for one image. A distance is the mean of its
    distribution, in strides.
    """
    centres, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.arange(height // stride), torch.arange(width // stride)
        centres.append(torch.cartesian_prod(rows, columns).flip(1).add(0.5).mul(stride))
        strides.append(torch.full((len(centres[-1]), 1), float(stride)))
    distances = logits.softmax(dim=2) @ torch.arange(DISTANCES, dtype=logits.dtype, device=logits.device)
    distances = distances * torch.cat(strides).to(distances)
    corners = torch.cat(centres).to(distances) - distances[:, :2]
    return torch.cat([corners, distances[:, :2] + distances[:, 2:]], dim=1)


@dataclass(frozen=True, kw_only=True)
class NanoDetConfig:
    """Parameters of the search.

    A frame is scaled until its longer side is `side` pixels, or `large_side` pixels if it has at least `large_frame`.
    Where its shorter side is then less than `min_side` pixels, nothing is found. Detections with scores from
    `min_weak_score` (that of ByteTrack) to `min_score` are uncertain, see `Detections`. A frame that is wider than
    `max_aspect` times its height is searched in tiles of `tile_aspect`, which overlap by half of the height. At the
    authors' `max_iou` of 0.6 some people keep two boxes, which take each other's place in tracklets.
    """

    side: int = 416
    large_side: int = 640
    large_frame: int = 1280
    max_upscale: float = 2.0
    min_side: int = 16
    max_aspect: float = 2.0
    tile_aspect: float = 4 / 3
    min_score: float = 0.45
    min_weak_score: float = 0.1
    max_iou: float = 0.5

    def scale(self, height: int, width: int) -> float:
        """Return the factor by which a tile of `height` x `width` pixels is resized before the search."""
        longer = max(height, width)
        return min(self.max_upscale, (self.large_side if longer >= self.large_frame else self.side) / longer)

    def tiles(self, height: int, width: int) -> Iterator[slice]:
        """Yield the columns of the tiles of a frame of `height` x `width` pixels."""
        if width <= height * self.max_aspect:
            yield slice(0, width)
            return
        tile = math.ceil(height * self.tile_aspect)
        step = tile - height // 2
        for left in range(0, width - tile + step, step):
            # The last tile is as wide as the others.
            start = min(left, width - tile)
            yield slice(start, start + tile)


class NanoDetDetector:
    """The network with the weights that ship with Vestigo, with one box per person.

    Raises:
        ModelError: If the weights are damaged.
    """

    name = "nanodet"

    def __init__(self, config: NanoDetConfig | None = None, *, device: str = "cpu") -> None:
        self.config = config or NanoDetConfig()
        self._network = load_network()
        self.digest = weights_digest({"algorithm": "nanodet-1", **asdict(self.config)}, self._network.state_dict())
        self._network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    def detect(self, image: UInt8Array) -> Detections:
        """Return the people in an RGB uint8 frame of shape (height, width, 3) with the network's scores, 0..1."""
        config = self.config
        height, width = image.shape[:2]
        boxes: list[Float64Array] = []
        scores: list[Float64Array] = []
        for columns in config.tiles(height, width):
            tile_boxes, tile_scores = self._search(image[:, columns])
            boxes.append(tile_boxes + np.array([columns.start, 0, 0, 0]))
            scores.append(tile_scores)
        people = Detections.ordered(np.concatenate(boxes), np.concatenate(scores), config.min_score)
        return suppress(people, max_iou=config.max_iou)

    @torch.inference_mode()
    def _search(self, tile: UInt8Array) -> tuple[Float64Array, Float64Array]:
        """Return boxes, (N, 4), x, y, w, h in pixels of a tile, and their scores, (N,)."""
        scale = self.config.scale(*tile.shape[:2])
        height, width = (round(side * scale) for side in tile.shape[:2])
        if min(height, width) < self.config.min_side:
            return np.empty((0, 4)), np.empty(0)
        scaled = cv2.resize(tile, (width, height), interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
        x = network_input(np.asarray(scaled, dtype=np.uint8)).to(self._device, memory_format=torch.channels_last)
        scores, logits = self._network(x)
        is_person = scores[0] >= self.config.min_weak_score
        boxes = cell_boxes(logits[0], *x.shape[2:])[is_person]
        return boxes.double().cpu().numpy() / scale, scores[0][is_person].double().cpu().numpy()


def network_input(image: UInt8Array) -> Tensor:
    """Return an RGB uint8 image (H, W, 3) as normalised BGR (1, 3, H', W'), sides padded to multiples of 32."""
    bgr = (torch.from_numpy(image[:, :, ::-1].copy()).float() - torch.tensor(MEAN)) / torch.tensor(STD)
    height, width = image.shape[:2]
    return functional.pad(bgr.permute(2, 0, 1)[None], (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]))


def load_network(folder: Path = PACKAGE) -> NanoDetNetwork:
    """Return the network with the weights of a folder in float32.

    Raises:
        ModelError: If the weights cannot be read or are not those of this network.
    """
    network = NanoDetNetwork()
    state = read_weights(str(folder / WEIGHTS))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"{folder / WEIGHTS} is not for NanoDet-g ({first_line(error)}); install Vestigo again"
        ) from None
    return network.eval().requires_grad_(False)
