"""What a model says of crops: descriptors, regions, attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vestigo_models.attribute_filter.temperature import apply_temperatures
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import normalise, stack
from vestigo_models.networks.folding import folded
from vestigo_models.networks.outputs import PART, NetworkOutput
from vestigo_models.networks.semantic import SemanticNetwork

Images = Sequence[NDArray[np.uint8]]


class Extractor:
    """Puts crops through a model, always in batches of one size.

    The libraries below choose other kernels, and so other rounding, for other batch sizes. The last batch is
    therefore padded: what is said of a crop depends on neither its neighbours nor their number, bit for bit.
    """

    def __init__(self, package: ModelPackage, device: str = "cpu", batch_size: int = 32) -> None:
        self.package = package
        self.device = torch.device(device)
        self.batch_size = batch_size
        network = folded(package.network)
        self._network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def extract(self, crops: Images) -> CropFeatures:
        """What the model says of RGB uint8 crops of any size (H x W x 3), in the order given."""
        lots = [self._compute(lot) for lot in self._lots(crops)]
        return CropFeatures.joined(lots or [self._compute([])])

    def features(self, crops: Images) -> NDArray[np.float32]:
        """F of crops: N x h x w x C float32, what clustering looks at.

        Raises ValueError for a model without a feature map (`package.grid` is None).
        """
        return self._mapped(crops, lambda network, x: network.features(x).full().permute(0, 2, 3, 1))

    def regions(self, crops: Images) -> NDArray[np.float32]:
        """Region probabilities P of crops: N x h x w x K float32. Raises ValueError for a model without regions."""

        def probabilities(network: SemanticNetwork, x: Tensor) -> Tensor:
            return network.maps(x)[1].float().softmax(dim=1).permute(0, 2, 3, 1)

        return self._mapped(crops, probabilities)

    def maps(self, crops: Images) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """F and P of crops in one pass, as `features` and `regions` give them; P is None without regions."""

        def both(network: SemanticNetwork, x: Tensor) -> Tensor:
            if network.classify is None:
                return network.features(x).full().permute(0, 2, 3, 1)
            found, logits = network.maps(x)
            return torch.cat([found.full().float(), logits.float().softmax(dim=1)], dim=1).permute(0, 2, 3, 1)

        found = self._mapped(crops, both)
        regions = self.package.config.network.regions
        if not regions:
            return found, None
        return np.ascontiguousarray(found[..., :-regions]), np.ascontiguousarray(found[..., -regions:])

    def _lots(self, crops: Images) -> list[Images]:
        return [crops[start : start + self.batch_size] for start in range(0, len(crops), self.batch_size)]

    def _input(self, crops: Images) -> Tensor:
        config = self.package.config
        pixels = np.zeros((self.batch_size, *config.input_size, 3), dtype=np.uint8)
        if len(crops):
            pixels[: len(crops)] = stack(crops, config.input_size)
        return normalise(pixels, config.mean, config.std, self.device)

    @torch.inference_mode()
    def _mapped(self, crops: Images, read: Callable[[SemanticNetwork, Tensor], Tensor]) -> NDArray[np.float32]:
        network = self._network
        if not isinstance(network, SemanticNetwork):
            raise ValueError("the model has no feature map")
        lots = [read(network, self._input(lot))[: len(lot)].float().cpu().numpy() for lot in self._lots(crops)]
        return np.concatenate(lots or [read(network, self._input([]))[:0].float().cpu().numpy()])

    @torch.inference_mode()
    def _compute(self, crops: Images) -> CropFeatures:
        package = self.package
        x = self._input(crops)
        views = [self._network(x)]
        if package.config.flip_average:
            views.append(self._network(x.flip(3)))
        areas = torch.stack([_areas(view) for view in views]).mean(dim=0)
        visible = areas[:, 1:] * package.cells >= package.config.network.visibility_min_cells
        posts = {kind: sum(view.features[kind].post for view in views) for kind in views[0].features}
        vectors = describe(posts, visible, concat=package.config.network.distance == "concat")
        count = len(crops)
        probabilities = _probabilities(views).cpu().numpy()
        if package.schema is not None and package.calibration is not None:
            probabilities = apply_temperatures(probabilities, package.calibration.temperatures, package.schema)
        return CropFeatures(
            descriptors=Descriptors(
                vectors=vectors[:count].cpu().numpy(),
                visible=visible[:count, : package.parts].cpu().numpy(),
                always=package.always,
            ),
            probabilities=probabilities[:count],
            areas=areas[:count].cpu().numpy(),
        )


def describe(posts: dict[str, Tensor], visible: Tensor, *, concat: bool) -> Tensor:
    """Descriptors of B crops from features after their BNNecks (specification, section 8): B x D float32.

    posts: B x D_i by kind; visible: B x (K-1) bool. With `concat` all features side by side make one block.
    """
    if concat:
        return functional.normalize(torch.cat([post.float() for post in posts.values()], dim=1), dim=1)
    blocks = [functional.normalize(post.float(), dim=1) for kind, post in posts.items() if kind != PART]
    if PART in posts:
        post = posts[PART].float()
        parts = post.reshape(len(post), visible.shape[1], -1)
        blocks.append((functional.normalize(parts, dim=2) * visible[..., None]).flatten(1))
    return torch.cat(blocks, dim=1)


def _areas(view: NetworkOutput) -> Tensor:
    """B x K float32; B x 0 without regions."""
    if view.pixels is None:
        first = next(iter(view.features.values())).post
        return first.new_zeros(len(first), 0)
    # Planes are compared one by one: an argmax across them reads memory in strides, and takes ten times as long.
    planes = view.pixels.flatten(2).unbind(dim=1)
    best, labels = planes[0], torch.zeros_like(planes[0], dtype=torch.uint8)
    for region, plane in enumerate(planes[1:], start=1):
        labels.masked_fill_(plane > best, region)
        best = torch.maximum(best, plane)
    counts = [torch.count_nonzero(labels == region, dim=1) for region in range(len(planes))]
    return torch.stack(counts, dim=1).float() / labels.shape[1]


def _probabilities(views: Sequence[NetworkOutput]) -> Tensor:
    """B x M float32, the mean over the views; B x 0 without attributes."""
    found = [view.attributes.exp() for view in views if view.attributes is not None]
    if not found:
        first = next(iter(views[0].features.values())).post
        return first.new_zeros(len(first), 0)
    return torch.stack(found).mean(dim=0)
