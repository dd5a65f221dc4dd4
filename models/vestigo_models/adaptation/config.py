"""The configuration of an adaptation."""

from pydantic import Field

from vestigo_models.strict_model import StrictModel
from vestigo_models.training.config import AugmentationConfig


class AdaptationConfig(StrictModel):
    """Settings of an adaptation.

    Where nothing else is said, the values are those of Cluster Contrast (Dai et al., ACCV 2022) for person
    re-identification; batches are smaller, for CPUs.
    """

    seed: int = Field(default=0, ge=0, description="seed of everything random")
    epochs: int = Field(default=12, ge=1, description="clusterings of all crops, each followed by a pass over them")
    patience: int = Field(default=4, ge=1, description="epochs without a better criterion after which it ends")

    k1: int = Field(default=30, ge=1, description="nearest tracklets among which reciprocal ones are sought")
    k2: int = Field(default=6, ge=1, description="nearest tracklets whose neighbourhoods are averaged")
    radius: float = Field(default=0.6, gt=0, lt=1, description="largest Jaccard distance of neighbours in a cluster")
    min_crops: int = Field(default=4, ge=1, description="crops in a neighbourhood that start a cluster")

    batch_clusters: int = Field(default=16, ge=2, description="clusters in a batch (P)")
    crops_per_cluster: int = Field(default=4, ge=2, description="crops of each (K), taken from its cameras in turn")
    learning_rate: float | None = Field(
        default=None, gt=0, description="Adam's rate, a tenth in the last third of epochs; null: the backbone's"
    )
    weight_decay: float = Field(default=5e-4, ge=0, description="Adam's weight decay")
    temperature: float = Field(default=0.05, gt=0, description="of the contrastive losses")
    momentum: float = Field(default=0.1, ge=0, lt=1, description="share of a centroid that an update keeps")
    camera_weight: float = Field(default=0.5, ge=0, description="weight of the losses of camera-aware proxies")
    hard_negatives: int = Field(default=50, ge=1, description="proxies of other clusters that a crop is kept from")
    distillation: float = Field(default=1.0, ge=0, description="weight of the base's attributes and regions as targets")
    teacher_momentum: float = Field(default=0.999, ge=0, lt=1, description="of the moving average of weights")

    augmentation: AugmentationConfig | None = Field(
        default=None, description="random changes of images; null: those of BoT, scaled with the input"
    )
    cache_gib: float = Field(default=4.0, ge=0, description="decoded images are cached if they fit into this memory")
