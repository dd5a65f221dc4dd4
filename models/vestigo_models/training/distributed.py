"""Collective operations of the workers that train together."""

from collections.abc import Iterable

from torch import Tensor, nn


class Ranks:
    """Collective operations of the workers that train together; this class is a single worker."""

    rank = 0  # number of this worker; worker 0 writes files
    size = 1  # number of workers

    def gather(self, x: Tensor) -> Tensor:
        """Concatenate the `x` of all workers along dimension 0 in order of rank; gradients flow back to each."""
        return x

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean of `x` over the workers, without gradients."""
        return x

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of `x` over the workers, without gradients."""
        return x

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Copy the buffers of `module`, such as running means, from worker 0 to all workers."""

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the workers."""

    def barrier(self) -> None:
        """Wait for all workers."""
