"""The interface between a training loop and the workers that train together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor, nn


class Ranks(Protocol):
    """Collective operations of the workers that train together.

    Attributes:
        rank: Number of this worker; worker 0 writes files.
        size: Number of workers.
    """

    rank: int
    size: int

    def gather(self, x: Tensor, /) -> Tensor:
        """Concatenate the `x` of all workers along dimension 0 in order of rank; gradients flow back to each."""

    def mean(self, x: Tensor, /) -> Tensor:
        """Return the mean of `x` over the workers, without gradients."""

    def sum(self, x: Tensor, /) -> Tensor:
        """Return the sum of `x` over the workers, without gradients."""

    def broadcast_buffers(self, module: nn.Module, /) -> None:
        """Copy the buffers of `module`, such as running means, from worker 0 to all workers."""

    def average_gradients(self, parameters: Iterable[nn.Parameter], /) -> None:
        """Replace every gradient by its mean over the workers."""

    def barrier(self) -> None:
        """Wait for all workers."""


class SingleProcess:
    """The collective operations of one worker."""

    rank = 0
    size = 1

    def gather(self, x: Tensor, /) -> Tensor:
        """Return `x`."""
        return x

    mean = sum = gather

    def broadcast_buffers(self, _module: nn.Module, /) -> None:
        """Do nothing."""

    def average_gradients(self, _parameters: Iterable[nn.Parameter], /) -> None:
        """Do nothing."""

    def barrier(self) -> None:
        """Do nothing."""
