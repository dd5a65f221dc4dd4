"""Tensors out of somebody else's checkpoint: a file, a folder or a hub id; nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoImageProcessor

from vestigo_models.errors import ModelError, first_line

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def read_weights(ref: str) -> dict[str, Tensor]:
    """Read tensors from a file, a folder that holds one, or a Hugging Face hub id; never by unpickling objects.

    Raises:
        ModelError: nothing is there, or it is no safetensors and no plain torch state dict.
    """
    path = _locate(ref)
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise ModelError(f"weights {ref!r}: {path.name} cannot be read ({first_line(error)})") from None
    except torch.serialization.pickle.UnpicklingError:  # type: ignore[attr-defined]
        raise ModelError(
            f"weights {ref!r}: {path.name} holds more than plain tensors; save its state_dict as safetensors"
        ) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"weights {ref!r}: {path.name} is not a state dict; save model.state_dict()")
    return state


def fit_weights(
    module: nn.Module, found: Mapping[str, Tensor], ref: str, what: str, *, fresh: Sequence[str] = ()
) -> None:
    """Load the tensors that `ref` held into `module`; names that begin with one of `fresh` may be missing.

    Raises:
        ModelError: other names or shapes than those of the module, which is called `what`.
    """
    wanted = module.state_dict()
    # Old checkpoints lack the counter, which only matters for a cumulative average that nobody uses here.
    optional = ("num_batches_tracked",)
    missing = sorted(
        k for k in wanted.keys() - found.keys() if not k.endswith(optional) and not k.startswith(tuple(fresh))
    )
    unknown = sorted(found.keys() - wanted.keys())
    wrong = sorted(k for k in wanted.keys() & found.keys() if wanted[k].shape != found[k].shape)
    for problem, keys in (("lacks", missing), ("has unknown", unknown), ("has other shapes for", wrong)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ModelError(
                f"weights {ref!r}: the checkpoint {problem} {', '.join(keys[:3])}{more};"
                f" give ImageNet weights of {what}"
            )
    module.load_state_dict(dict(found), strict=False)


def _locate(ref: str) -> Path:
    path = Path(ref)
    if path.is_file():
        return path
    if path.is_dir():
        for name in WEIGHT_FILES:
            if (path / name).is_file():
                return path / name
        raise ModelError(f"weights {ref!r}: the folder holds neither {' nor '.join(WEIGHT_FILES)}")
    for name in WEIGHT_FILES:
        try:
            return Path(hf_hub_download(ref, name))
        except LocalEntryNotFoundError:
            break
        except (HfHubHTTPError, HFValidationError):
            continue
    raise ModelError(f"weights {ref!r}: no such file, folder or reachable hub id; download the weights and give a path")


def weights_digest(facts: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over the settings that change what a network makes of its input, and every tensor by name."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_pretrained(ref: str, model_class: Any, what: str, device: str) -> tuple[Any, Any]:
    """Load an image processor and a model (a class with `from_pretrained`), ready to infer; no pickle is opened.

    Raises:
        ModelError: there is no such checkpoint, or it is no `what`.
    """
    try:
        # The processors on PIL need no torchvision, and give the same pixels on every machine.
        processor = AutoImageProcessor.from_pretrained(ref, backend="pil")  # type: ignore[no-untyped-call]
        return processor, model_class.from_pretrained(ref, use_safetensors=True).eval().to(device)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ModelError(f"{ref!r} cannot be loaded as a transformers {what}: {first_line(error)}") from None
