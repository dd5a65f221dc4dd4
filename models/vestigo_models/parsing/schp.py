"""Self-Correction Human Parsing with public checkpoints (docs/method.md, "Parsing and region merge")."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional

from vestigo_models.arrays import Float32Array, Float64Array, UInt8Array
from vestigo_models.errors import ModelError
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise
from vestigo_models.networks.weights import read_weights, weights_digest
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.ce2p import CE2P, PREFIX
from vestigo_models.parsing.label_maps import LABEL_SETS, ParserLabels
from vestigo_models.parsing.region_merge import merge

# The network was trained on BGR.
MEAN, STD = IMAGENET_MEAN[::-1], IMAGENET_STD[::-1]

INPUT_SIDE = {"lip": 473, "atr": 512, "pascal": 512}
"""Side of the square input of each public model, in pixels."""


class SchpParser(Parser):
    """A parser from a public checkpoint."""

    def __init__(self, network: CE2P, label_set: ParserLabels, *, device: str = "cpu") -> None:
        self.network = network.eval().to(device)
        self.label_set = label_set
        self.digest = weights_digest({"algorithm": "schp-1", "labels": label_set.name}, network.state_dict())
        self._device = device

    @classmethod
    def load(cls, ref: str, labels: str | None = None, *, device: str = "cpu") -> SchpParser:
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
