"""Self-Correction Human Parsing from its public checkpoints (specification, section 4)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vestigo_models.errors import ModelError
from vestigo_models.inference.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise
from vestigo_models.networks.weights import read_weights, weights_digest
from vestigo_models.parsing.base import Parsed, Parser
from vestigo_models.parsing.ce2p import CE2P, PREFIX
from vestigo_models.parsing.label_maps import LABEL_SETS, LabelSet
from vestigo_models.parsing.region_merge import merge

# The network was trained on BGR.
MEAN, STD = IMAGENET_MEAN[::-1], IMAGENET_STD[::-1]

INPUT_SIDE = {"lip": 473, "atr": 512, "pascal": 512}
"""Pixels of the square that each public model looks at."""

Image = NDArray[np.uint8]


class SchpParser(Parser):
    """A public checkpoint at work; `parse` is `Parser.parse`."""

    def __init__(self, network: CE2P, label_set: LabelSet, *, device: str = "cpu") -> None:
        self.network = network.eval().to(device)
        self.label_set = label_set
        self.digest = weights_digest({"algorithm": "schp-1", "labels": label_set.name}, network.state_dict())
        self._device = device

    @classmethod
    def load(cls, ref: str, labels: str | None = None, *, device: str = "cpu") -> SchpParser:
        """Load a checkpoint from a file; its label set is told by its number of classes unless `labels` names it.

        Raises:
            ModelError: the file cannot be read, or holds another network or label set.
        """
        state = read_weights(ref)
        head = state.get(f"{PREFIX}decoder.conv4.weight", state.get("decoder.conv4.weight"))
        if head is None:
            raise ModelError(f"{ref}: not a checkpoint of Self-Correction Human Parsing, it has no decoder")
        by_size = {len(known): known for known in LABEL_SETS.values()}
        found = by_size.get(len(head)) if labels is None else LABEL_SETS.get(labels)
        if found is None or len(found) != len(head):
            known = ", ".join(f"{name} ({len(known)})" for name, known in LABEL_SETS.items())
            raise ModelError(f"{ref}: {len(head)} classes, not those of {labels or 'a known label set'}: {known}")
        network = CE2P(len(found))
        try:
            network.load_public(state)
        except ModelError as error:
            raise ModelError(f"{ref}: {error}") from None
        return cls(network, found, device=device)

    @torch.inference_mode()
    def parse(self, image: Image, _name: str) -> Parsed:
        """See `Parser.parse`."""
        side = INPUT_SIDE[self.label_set.name]
        matrix = fit(image.shape[:2], side)
        bgr = np.ascontiguousarray(image[..., ::-1])
        square = cv2.warpAffine(bgr, matrix, (side, side), flags=cv2.INTER_LINEAR).astype(np.uint8)
        logits = self.network(normalise(square[None], MEAN, STD, self._device))
        full = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=True)
        back = undo(full[0].permute(1, 2, 0).float().cpu().numpy(), matrix, image.shape[:2])
        labels = back.argmax(axis=-1).astype(np.uint8)
        probabilities = torch.from_numpy(back).softmax(dim=-1).numpy()
        return Parsed(labels=labels, regions=merge(probabilities, self.label_set))


def fit(size: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """The 2 x 3 map that centres an image (height, width) in a square, its longer side from edge to edge."""
    height, width = size
    scale = (side - 1) / max(height - 1, width - 1, 1)
    middle = (side - 1) / 2
    return np.array([[scale, 0, middle - scale * (width - 1) / 2], [0, scale, middle - scale * (height - 1) / 2]])


def undo(square: NDArray[np.float32], matrix: NDArray[np.float64], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Values of a square (S x S x classes) at the pixels of the image that `fit` put into it."""
    height, width = size
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # OpenCV warps at most four channels at a time.
    planes = [cv2.warpAffine(square[..., k], matrix, (width, height), flags=flags) for k in range(square.shape[-1])]
    return np.stack(planes, axis=-1).astype(np.float32)
