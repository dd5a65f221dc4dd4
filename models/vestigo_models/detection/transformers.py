"""Any object detector of the transformers library that knows the label "person": RT-DETR, D-FINE, DETR, YOLOS, ..."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForObjectDetection

from vestigo_models.detection.base import Detections, suppress
from vestigo_models.errors import ModelError
from vestigo_models.networks.weights import load_pretrained, weights_digest

MIN_SCORE = 0.3
MAX_IOU = 0.7
"""Models without suppression of their own (DETR and its kin) need this seldom, and it costs nothing."""


class TransformersDetector:
    """One frame in, people out; `ref` is a folder that `save_pretrained` wrote, or a hub id."""

    def __init__(self, ref: str, *, device: str = "cpu") -> None:
        self.name = f"hf:{ref}"
        self._processor, self._model = load_pretrained(ref, AutoModelForObjectDetection, "object detector", device)
        labels: dict[int, str] = self._model.config.id2label
        self._person = {number for number, label in labels.items() if label.lower() == "person"}
        if not self._person:
            raise ModelError(
                f"detector {ref!r} knows no label 'person', only {', '.join(list(labels.values())[:5])} ..."
            )
        self._device = device
        self.digest = self._digest()

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Detect people in an RGB uint8 frame of shape (height, width, 3); scores are the model's, 0..1."""
        inputs = self._processor(images=image, return_tensors="pt", input_data_format="channels_last").to(self._device)
        with torch.inference_mode():
            outputs = self._model(**inputs)
        (found,) = self._processor.post_process_object_detection(
            outputs, threshold=MIN_SCORE, target_sizes=[(image.shape[0], image.shape[1])]
        )
        corners = found["boxes"].double().cpu().numpy()
        people = np.isin(found["labels"].cpu().numpy(), list(self._person))
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)[people]
        scores = found["scores"].double().cpu().numpy()[people]
        return suppress(Detections.ordered(boxes, scores), max_iou=MAX_IOU)

    def _digest(self) -> str:
        """SHA-256 over weights, preprocessing and parameters; not over the name, for a moved folder finds the same."""
        facts = {
            "algorithm": "transformers-1",
            "type": self._model.config.model_type,
            "processor": self._processor.to_dict(),
            "person": sorted(self._person),
            "min_score": MIN_SCORE,
            "max_iou": MAX_IOU,
        }
        return weights_digest(facts, self._model.state_dict())
