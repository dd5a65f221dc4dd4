"""Tensors of checkpoints from others: a file, a folder or a hub id. Nothing in a checkpoint is executed."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from vestigo_models.config_files import read_json
from vestigo_models.errors import BadInput, ConfigError, ModelError, first_line, key_path
from vestigo_models.isolation import MEMORY_BYTES, SECONDS, SLOWEST_READING, call
from vestigo_models.networks.pickled import read_pickled

WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""Files of a package of Vestigo."""
WEIGHT_FILES = (WEIGHTS, "pytorch_model.bin")
MAX_HEADER_BYTES = 2**23
"""Largest header of a safetensors file, for 80,000 tensors. Read, a header takes 20 times its size."""
COPIES = 4
"""Copies of its tensors for which reading a checkpoint has memory."""
Config = TypeVar("Config", bound=BaseModel)


def read_config(folder: Path, config_class: type[Config], kind: str) -> Config:
    """Read the `config.json` of a package, which the message calls the configuration of a `kind`.

    Raises:
        ModelError: If the file cannot be read or is invalid; the message names the first wrong key.
    """
    subject = f"{folder / CONFIG} is not the configuration of a {kind}"
    try:
        return config_class.model_validate(read_json(folder / CONFIG, subject))
    except ConfigError as error:
        raise ModelError(str(error)) from None
    except ValidationError as error:
        mistake = error.errors()[0]
        raise ModelError(f"{subject} ({key_path(mistake['loc'])}: {mistake['msg']})") from None


def write_config(folder: Path, config: BaseModel) -> None:
    """Replace the `config.json` of a package atomically."""
    partial = folder / f"{CONFIG}.partial"
    partial.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / CONFIG)


def write_package(folder: Path, config: BaseModel, state: Mapping[str, Tensor], *, half: bool) -> None:
    """Write a package into a folder; `half` rounds weights to float16, which halves the size."""
    folder.mkdir(parents=True, exist_ok=True)
    rounded = {name: value.half() if half and value.is_floating_point() else value for name, value in state.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in rounded.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    write_config(folder, config)


def read_weights(ref: str) -> dict[str, Tensor]:
    """Read the tensors of a file, a folder with one of `WEIGHT_FILES`, or a hub id; objects are never unpickled.

    Raises:
        ModelError: If there is no such checkpoint, or it is neither safetensors nor a plain torch state dict.
    """
    path = _locate(ref)
    try:
        if path.suffix == ".safetensors":
            return read_safetensors(path)
        memory_bytes = MEMORY_BYTES + COPIES * path.stat().st_size
        seconds = SECONDS + path.stat().st_size / SLOWEST_READING
        data = call(read_pickled, path, ref, name=path.name, seconds=seconds, memory_bytes=memory_bytes)
        return load(data.tobytes())
    except BadInput as error:
        raise ModelError(f"weights {ref!r}: {error.detail}") from None
    except (SafetensorError, RuntimeError, OSError, ValueError, LookupError) as error:
        raise ModelError(f"weights {ref!r}: {path.name} cannot be read ({first_line(error)})") from None


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file; raise BadInput `too-large`, SafetensorError or OSError."""
    with path.open("rb") as file:
        if (size := int.from_bytes(file.read(8), "little")) > MAX_HEADER_BYTES:
            raise BadInput("too-large", f"the header of {path.name} declares {size:,} bytes; export the weights again")
    return dict(load_file(path))


def load_weights(
    module: nn.Module, tensors: Mapping[str, Tensor], ref: str, network: str, *, optional: Sequence[str] = ()
) -> None:
    """Load the tensors of the checkpoint `ref` into a module; names with a prefix in `optional` may be missing.

    Raises:
        ModelError: If names or shapes differ from those of the module, which the message calls `network`.
    """
    expected = module.state_dict()
    # Old checkpoints lack the counter, which only a cumulative average needs.
    counter = "num_batches_tracked"
    missing = sorted(
        k for k in expected.keys() - tensors.keys() if not k.endswith(counter) and not k.startswith(tuple(optional))
    )
    unknown = sorted(tensors.keys() - expected.keys())
    wrong = sorted(k for k in expected.keys() & tensors.keys() if expected[k].shape != tensors[k].shape)
    for problem, keys in (("lacks", missing), ("has unknown", unknown), ("has other shapes for", wrong)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ModelError(
                f"weights {ref!r}: the checkpoint {problem} {', '.join(keys[:3])}{more};"
                f" give ImageNet weights of {network}"
            )
    module.load_state_dict(dict(tensors), strict=False)


def _locate(ref: str) -> Path:
    path = Path(ref)
    if path.is_file():
        return path
    if path.is_dir():
        for name in WEIGHT_FILES:
            if (path / name).is_file():
                return path / name
        raise ModelError(f"weights {ref!r}: the folder holds neither {' nor '.join(WEIGHT_FILES)}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    for name in WEIGHT_FILES:
        try:
            return Path(hf_hub_download(ref, name))
        except LocalEntryNotFoundError:
            break
        except (HfHubHTTPError, HFValidationError):
            continue
    raise ModelError(f"weights {ref!r}: no such file, folder or reachable hub id; download the weights and give a path")


def weights_digest(settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 (hex) of settings that change the output of a network, and of every tensor by name."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_pretrained(ref: str, model_class: Any, kind: str, device: str) -> tuple[Any, Any]:
    """Load an image processor and a model (`model_class.from_pretrained`) of the transformers library.

    `ref` is a folder or a Hugging Face hub id; pickle files are not read.

    Raises:
        ModelError: If there is no such checkpoint, or it is not a `kind`.
    """
    from transformers import AutoImageProcessor

    try:
        # The processors on PIL need no torchvision, and give the same pixels on every machine.
        processor = AutoImageProcessor.from_pretrained(ref, backend="pil")  # type: ignore[no-untyped-call]
        return processor, model_class.from_pretrained(ref, use_safetensors=True).eval().to(device)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ModelError(f"{ref!r} cannot be loaded as a transformers {kind}: {first_line(error)}") from None
