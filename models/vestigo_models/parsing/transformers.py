"""Semantic segmentation models of the transformers library as parsers: SegFormer, Mask2Former, ..."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation, PretrainedConfig

from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import ConfigError, ModelError, first_line
from vestigo_models.networks.weights import load_pretrained, weights_digest
from vestigo_models.parsing.base import MAX_CLASSES, Parsed, Parser
from vestigo_models.parsing.label_maps import ParserLabels, merge

KIND = "semantic segmenter"
QUERY_MODELS = ("maskformer", "mask2former")
"""Models that output queries, each with a class and a mask, instead of a class for each pixel."""


class TransformersParser(Parser):
    """A parser from a folder of `save_pretrained` or a hub id."""

    def __init__(self, ref: str, label_map: Mapping[str, str] | None = None, *, device: str = "cpu") -> None:
        by_queries = _model_type(ref) in QUERY_MODELS
        model_class = AutoModelForUniversalSegmentation if by_queries else AutoModelForSemanticSegmentation
        self._processor, self._model = load_pretrained(ref, model_class, KIND, device)
        labels: dict[int, str] = self._model.config.id2label
        if len(labels) > MAX_CLASSES:
            raise ModelError(f"parser {ref!r} has {len(labels)} classes; label maps hold {MAX_CLASSES} at most")
        classes = [labels[index] for index in range(len(labels))]
        try:
            self.label_set = ParserLabels.named("transformers", classes, label_map)
        except ConfigError as error:
            raise ConfigError(f"parser {ref!r}: {error}") from None
        self._device = device
        facts = {
            "algorithm": "transformers-parser-1",
            "type": self._model.config.model_type,
            "processor": self._processor.to_dict(),
            "regions": self.label_set.regions,
            "split": self.label_set.split,
        }
        self.digest = weights_digest(facts, self._model.state_dict())

    @torch.inference_mode()
    def parse(self, image: UInt8Array, _name: str) -> Parsed:
        """Parse one image, see `Parser.parse`."""
        inputs = self._processor(images=image, return_tensors="pt", input_data_format="channels_last").to(self._device)
        scores = class_scores(self._model(**inputs))
        full = functional.interpolate(scores, image.shape[:2], mode="bilinear", align_corners=False)[0]
        classes = (full / full.sum(dim=0)).permute(1, 2, 0).cpu().numpy()
        return Parsed(labels=classes.argmax(axis=-1).astype(np.uint8), regions=merge(classes, self.label_set))


def _model_type(ref: str) -> str:
    try:
        return str(PretrainedConfig.get_config_dict(ref)[0].get("model_type", ""))
    except (OSError, ValueError) as error:
        raise ModelError(f"{ref!r} cannot be loaded as a transformers {KIND}: {first_line(error)}") from None


def class_scores(outputs: Any) -> Tensor:
    """Return positive scores of every class at every place, 1 x classes x h x w.

    For models with queries, the score of a class is the sum over the queries (semantic inference in Cheng et al.,
    "Per-Pixel Classification is Not All You Need", NeurIPS 2021).
    """
    if "logits" in outputs:
        return functional.softmax(outputs.logits.float(), dim=1)
    classes = functional.softmax(outputs.class_queries_logits.float(), dim=-1)[..., :-1]
    masks = outputs.masks_queries_logits.float().sigmoid()
    return torch.einsum("bqc,bqhw->bchw", classes, masks).clamp(min=torch.finfo(torch.float32).tiny)
