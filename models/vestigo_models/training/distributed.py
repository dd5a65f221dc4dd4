"""The seam between a training loop and the workers that may share it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn


class Ranks(Protocol):
    """What a training loop needs to know of the workers that train together; `rank` is 0 on the one that writes."""

    rank: int
    size: int

    def gather(self, x: Tensor) -> Tensor:
        """Concatenate the `x` of all workers along dimension 0, in order of rank; gradients flow back to each."""

    def mean(self, x: Tensor) -> Tensor:
        """Average `x` over the workers, without gradients."""

    def total(self, x: Tensor) -> Tensor:
        """Add up the `x` of all workers, without gradients."""

    def agree(self, module: nn.Module) -> None:
        """Give the buffers of `module` (statistics of its normalisations) the values that they have on worker 0."""

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its average over the workers."""

    def barrier(self) -> None:
        """Wait for all workers."""


class Alone:
    """One worker."""

    rank = 0
    size = 1

    def gather(self, x: Tensor) -> Tensor:
        """See `Ranks.gather`."""
        return x

    def mean(self, x: Tensor) -> Tensor:
        """See `Ranks.mean`."""
        return x

    def total(self, x: Tensor) -> Tensor:
        """See `Ranks.total`."""
        return x

    def agree(self, module: nn.Module) -> None:
        """See `Ranks.agree`."""

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """See `Ranks.average_gradients`."""

    def barrier(self) -> None:
        """See `Ranks.barrier`."""
