"""Networks: backbones, the baseline head, and how they are built."""

from vestigo_models.networks.backbone import Backbone
from vestigo_models.networks.baseline import Baseline, GeneralisedMean, GlobalAverage
from vestigo_models.networks.build import BACKBONES, NetworkConfig, build_network
from vestigo_models.networks.convnext import ConvNext
from vestigo_models.networks.feature_map import FeatureMap
from vestigo_models.networks.outputs import BNNeck, Features, NetworkOutput, ReidNetwork
from vestigo_models.networks.resnet50 import ResNet50
from vestigo_models.networks.semantic import SemanticNetwork
from vestigo_models.networks.tiny import Tiny

__all__ = [
    "BACKBONES",
    "BNNeck",
    "Backbone",
    "Baseline",
    "ConvNext",
    "FeatureMap",
    "Features",
    "GeneralisedMean",
    "GlobalAverage",
    "NetworkConfig",
    "NetworkOutput",
    "ReidNetwork",
    "ResNet50",
    "SemanticNetwork",
    "Tiny",
    "build_network",
]
