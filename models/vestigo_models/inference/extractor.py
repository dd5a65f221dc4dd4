"""Inference: descriptors, attribute probabilities and regions of crops."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vestigo_models.arrays import Float32Array, UInt8Array
from vestigo_models.attribute_filter.temperature import apply_temperatures
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.features import CropFeatures
from vestigo_models.inference.package import ModelPackage
from vestigo_models.inference.preprocessing import padded_input
from vestigo_models.networks.build import fold_batch_norms
from vestigo_models.networks.outputs import PART, NetworkOutput
from vestigo_models.networks.semantic import SemanticNetwork

Crops = Sequence[UInt8Array]  # RGB crops of any size, (h, w, 3) uint8 each


class Extractor:
    """Runs a model on crops, always in batches of one size.

    Libraries choose other kernels, and so other rounding, for other batch sizes. The last batch is therefore padded:
    the result for a crop does not depend on the other crops or their number, bit for bit.
    """

    def __init__(self, package: ModelPackage, device: str = "cpu", batch_size: int = 32) -> None:
        self.package = package
        self.device = torch.device(device)
        self.batch_size = batch_size
        network = fold_batch_norms(package.network)
        self._network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def extract(self, crops: Crops) -> CropFeatures:
        """Compute descriptors, attribute probabilities and region areas of N crops."""
        batches = [self._extract_batch(batch) for batch in self._split(crops)]
        return CropFeatures.joined(batches or [self._extract_batch([])])

    def regions(self, crops: Crops) -> Float32Array:
        """Compute the region probabilities P of N crops, N x H x W x K; raise ValueError if the model has none."""
        return self._compute_maps(crops, lambda network, x: network.segment(x)[1].float().softmax(dim=1))

    def feature_maps(self, crops: Crops) -> tuple[Float32Array, Float32Array | None]:
        """Compute F (N x H x W x C) and P (N x H x W x K) of N crops in one pass; P is None without regions.

        Raises:
            ValueError: If the model has no feature map.
        """

        def both(network: SemanticNetwork, x: Tensor) -> Tensor:
            if network.classify is None:
                return network.feature_map(x).to_tensor()
            features, logits = network.segment(x)
            return torch.cat([features.to_tensor().float(), logits.float().softmax(dim=1)], dim=1)

        maps = self._compute_maps(crops, both)
        regions = self.package.config.network.regions
        if not regions:
            return maps, None
        return np.ascontiguousarray(maps[..., :-regions]), np.ascontiguousarray(maps[..., -regions:])

    def _split(self, crops: Crops) -> list[Crops]:
        return [crops[start : start + self.batch_size] for start in range(0, len(crops), self.batch_size)]

    def _input(self, crops: Crops) -> Tensor:
        config = self.package.config
        return padded_input(crops, config.input_size, self.batch_size, config.mean, config.std, self.device)

    @torch.inference_mode()
    def _compute_maps(self, crops: Crops, compute: Callable[[SemanticNetwork, Tensor], Tensor]) -> Float32Array:
        """Compute B x D x H x W maps in batches, and return them as N x H x W x D."""
        network = self._network
        if not isinstance(network, SemanticNetwork):
            raise ValueError("the model has no feature map")
        batches = [
            compute(network, self._input(batch))[: len(batch)].float().permute(0, 2, 3, 1).cpu().numpy()
            for batch in self._split(crops) or [[]]
        ]
        return np.concatenate(batches)

    @torch.inference_mode()
    def _extract_batch(self, crops: Crops) -> CropFeatures:
        package = self.package
        x = self._input(crops)
        outputs = [self._network(x)]
        if package.config.flip_average:
            outputs.append(self._network(x.flip(3)))
        areas = torch.stack([region_areas(output) for output in outputs]).mean(dim=0)
        visible = areas[:, 1:] * prod(package.grid) >= package.config.network.visibility_min_cells
        posts = {kind: sum(output.features[kind].post for output in outputs) for kind in outputs[0].features}
        vectors = build_descriptors(posts, visible, package.compared_parts)
        count = len(crops)
        probabilities = _attribute_probabilities(outputs).cpu().numpy()
        if package.schema is not None and package.calibration is not None:
            probabilities = apply_temperatures(probabilities, package.calibration.temperatures, package.schema)
        return CropFeatures(
            descriptors=Descriptors(
                vectors=vectors[:count].cpu().numpy(),
                visible=visible[:count, list(package.compared_parts or ())].cpu().numpy(),
                always=package.always,
            ),
            probabilities=probabilities[:count],
            areas=areas[:count].cpu().numpy(),
        )


def build_descriptors(posts: dict[str, Tensor], visible: Tensor, compared: Sequence[int] | None) -> Tensor:
    """Build descriptors of B crops (docs/method.md, section "Distance").

    Args:
        posts: Features after their BNNecks by kind, B x D_i.
        visible: l_k, B x (K-1) bool.
        compared: Indices of the parts that are compared, from 0 to K-2; None if all features make one block.

    Returns:
        Descriptors, B x D float32: blocks of length 1, always-present ones first, invisible parts zero.
    """
    if compared is None:
        return functional.normalize(torch.cat([post.float() for post in posts.values()], dim=1), dim=1)
    blocks = [functional.normalize(post.float(), dim=1) for kind, post in posts.items() if kind != PART]
    if PART in posts:
        post = posts[PART].float()
        parts = post.reshape(len(post), visible.shape[1], -1)[:, list(compared)]
        blocks.append((functional.normalize(parts, dim=2) * visible[:, list(compared), None]).flatten(1))
    return torch.cat(blocks, dim=1)


def region_areas(output: NetworkOutput) -> Tensor:
    """Return the share of cells of each region, B x K float32; B x 0 without regions."""
    if output.region_logits is None:
        first = next(iter(output.features.values())).post
        return first.new_zeros(len(first), 0)
    # Planes are compared one by one: an argmax across them reads memory in strides, which takes ten times as long.
    planes = output.region_logits.flatten(2).unbind(dim=1)
    best, labels = planes[0], torch.zeros_like(planes[0], dtype=torch.uint8)
    for region, plane in enumerate(planes[1:], start=1):
        labels.masked_fill_(plane > best, region)
        best = torch.maximum(best, plane)
    counts = [torch.count_nonzero(labels == region, dim=1) for region in range(len(planes))]
    return torch.stack(counts, dim=1).float() / labels.shape[1]


def _attribute_probabilities(outputs: Sequence[NetworkOutput]) -> Tensor:
    """Return the mean of p-hat over the outputs, B x M float32; B x 0 without attributes."""
    probabilities = [output.attributes.exp() for output in outputs if output.attributes is not None]
    if not probabilities:
        first = next(iter(outputs[0].features.values())).post
        return first.new_zeros(len(first), 0)
    return torch.stack(probabilities).mean(dim=0)
