"""Networks: backbones, the baseline head, and how they are built."""

from vestigo_models.networks.backbone import Backbone
from vestigo_models.networks.baseline import Baseline, BNNeck, Features, GeneralisedMean, GlobalAverage
from vestigo_models.networks.build import BACKBONES, NetworkConfig, build_network
from vestigo_models.networks.resnet50 import ResNet50
from vestigo_models.networks.tiny import Tiny

__all__ = [
    "BACKBONES",
    "BNNeck",
    "Backbone",
    "Baseline",
    "Features",
    "GeneralisedMean",
    "GlobalAverage",
    "NetworkConfig",
    "ResNet50",
    "Tiny",
    "build_network",
]
