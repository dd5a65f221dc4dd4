"""Embeddings of crops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vestigo_models.package import ModelPackage
from vestigo_models.preprocessing import normalise, stack


class Extractor:
    """Turns crops into embeddings, always in batches of one size.

    The libraries below choose other kernels, and so other rounding, for other batch sizes. The last batch is
    therefore padded: the embedding of a crop depends on neither its neighbours nor their number, bit for bit.
    """

    def __init__(self, package: ModelPackage, device: str = "cpu", batch_size: int = 32) -> None:
        self.package = package
        self.device = torch.device(device)
        self.batch_size = batch_size
        self._network = package.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def extract(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed RGB uint8 crops of any size (H x W x 3): N x D float32, each row of length 1, in the order given."""
        rows = np.empty((len(crops), self.package.embedding_dim), dtype=np.float32)
        for start in range(0, len(crops), self.batch_size):
            part = crops[start : start + self.batch_size]
            rows[start : start + len(part)] = self._embed(part)
        return rows

    @torch.inference_mode()
    def _embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        config = self.package.config
        height, width = config.input_size
        pixels = np.zeros((self.batch_size, height, width, 3), dtype=np.uint8)
        pixels[: len(crops)] = stack(crops, config.input_size)
        x = normalise(pixels, config.mean, config.std, self.device)
        post: Tensor = self._network(x).post
        if config.flip_average:
            post = post + self._network(x.flip(3)).post
        unit: NDArray[np.float32] = functional.normalize(post, dim=1).cpu().numpy()
        return unit[: len(crops)]
