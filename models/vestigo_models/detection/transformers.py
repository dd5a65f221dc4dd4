"""Object detectors of the transformers library that have the label "person": RT-DETR, D-FINE, DETR, YOLOS, ..."""

import cv2
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
MAX_FRAME_SIDE = 8192
"""Pixels. A larger frame is scaled down before the model's own preprocessing, which may keep its size."""
MIN_FRAME_SIDE = 16
"""Pixels. Frames whose shorter side is less after scaling have no detections."""


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
        facts = {
            "algorithm": "transformers-1",
            "type": self._model.config.model_type,
            "processor": self._processor.to_dict(),
            "person": sorted(self._person_ids),
            "min_score": MIN_SCORE,
            "max_iou": MAX_IOU,
        }
        self.digest = weights_digest(facts, self._model.state_dict())

    def detect(self, image: UInt8Array) -> Detections:
        """Return the people in an RGB uint8 frame of shape (height, width, 3) with the model's scores, 0..1."""
        scale = min(1.0, MAX_FRAME_SIDE / max(image.shape[:2]))
        if scale * min(image.shape[:2]) < MIN_FRAME_SIDE:
            return Detections.ordered(np.empty((0, 4)), np.empty(0))
        scaled = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        inputs = self._processor(images=scaled, return_tensors="pt", input_data_format="channels_last").to(self._device)
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
