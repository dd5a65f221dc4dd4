"""Models of the transformers library, from a folder that `save_pretrained` wrote or from a hub id."""

from __future__ import annotations

from typing import Any

from transformers import AutoImageProcessor

from vestigo_models.errors import ModelError, first_line


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
