"""Read pickled torch checkpoints in child processes, which import torch themselves so that their server stays light."""

from pathlib import Path

import numpy as np

from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import ModelError, first_line


def read_pickled(path: Path, ref: str) -> UInt8Array:
    """Return the tensors of a torch state dict as the bytes of a safetensors file; objects are never unpickled.

    Raises:
        ModelError: If the file is not a plain state dict; the message calls the checkpoint `ref`.
    """
    import torch
    from safetensors.torch import save

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise ModelError(f"weights {ref!r}: {path.name} cannot be read ({first_line(error)})") from None
    except torch.serialization.pickle.UnpicklingError:  # type: ignore[attr-defined]
        raise ModelError(
            f"weights {ref!r}: {path.name} holds more than plain tensors; save its state_dict as safetensors"
        ) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"weights {ref!r}: {path.name} is not a state dict; save model.state_dict()")
    # Copies, because safetensors refuses tensors that share memory.
    tensors = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    return np.frombuffer(save(tensors), dtype=np.uint8)
