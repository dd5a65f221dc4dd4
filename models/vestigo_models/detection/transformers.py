"""Object detectors of the transformers library that have the label "person": RT-DETR, D-FINE, DETR, YOLOS, ..."""

from __future__ import annotations

import numpy as np
import torch
from transformers import AutoModelForObjectDetection

from vestigo_models.arrays import UInt8Array
from vestigo_models.detection.base import Detections, suppress
from vestigo_models.errors import ModelError
from vestigo_models.networks.weights import load_pretrained, weights_digest

MIN_SCORE = 0.3
MAX_IOU = 0.7
"""Suppression for models without their own, such as DETR."""


class TransformersDetector:
    """A pretrained object detector; `ref` is a folder of `save_pretrained` or a hub id."""

    def __init__(self, ref: str, *, device: str = "cpu") -> None:
        self.name = f"hf:{ref}"
        self._processor, self._model = load_pretrained(ref, AutoModelForObjectDetection, "object detector", device)
        labels: dict[int, str] = self._model.config.id2label
        self._person_ids = {number for number, label in labels.items() if label.lower() == "person"}
        if not self._person_ids:
            raise ModelError(f"detector {ref!r} has no label 'person', only {', '.join(list(labels.values())[:5])} ...")
        self._device = device
        self.digest = self._digest()

    def detect(self, image: UInt8Array) -> Detections:
        """Return the people in an RGB uint8 frame of shape (height, width, 3) with the model's scores, 0..1."""
        inputs = self._processor(images=image, return_tensors="pt", input_data_format="channels_last").to(self._device)
        with torch.inference_mode():
            outputs = self._model(**inputs)
        (result,) = self._processor.post_process_object_detection(
            outputs, threshold=MIN_SCORE, target_sizes=[(image.shape[0], image.shape[1])]
        )
        corners = result["boxes"].double().cpu().numpy()
        is_person = np.isin(result["labels"].cpu().numpy(), list(self._person_ids))
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)[is_person]
        scores = result["scores"].double().cpu().numpy()[is_person]
        return suppress(Detections.ordered(boxes, scores), max_iou=MAX_IOU)

    def _digest(self) -> str:
        """Return the SHA-256 of weights, preprocessing and parameters; the name does not matter."""
        facts = {
            "algorithm": "transformers-1",
            "type": self._model.config.model_type,
            "processor": self._processor.to_dict(),
            "person": sorted(self._person_ids),
            "min_score": MIN_SCORE,
            "max_iou": MAX_IOU,
        }
        return weights_digest(facts, self._model.state_dict())
