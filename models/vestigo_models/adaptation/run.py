"""The state of an adaptation, its epochs, and its checkpoints.

Every epoch clusters all crops by the teacher's descriptors, fills the memory with centroids, and trains the student on
batches of clusters. The teacher follows as the moving average of the student's weights (Tarvainen and Valpola, 2017),
and its running means of batch norms are those of the new cameras. The base's predictions are targets too, so that
regions and attributes are not forgotten (Li and Hoiem, 2016). Everything random depends on (seed, epoch, place) only:
on a CPU a resumed adaptation gives the weights of an uninterrupted one, bit for bit.
"""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vestigo_models.adaptation.clusters import NOT_CLUSTERED, ClusterSettings, cluster_tracklets
from vestigo_models.adaptation.config import AdaptationConfig
from vestigo_models.adaptation.criterion import cross_camera_silhouette
from vestigo_models.adaptation.data import AdaptationSet, BaseTargets, embed_crops, output_vectors
from vestigo_models.adaptation.memory import CentroidMemory
from vestigo_models.adaptation.sampling import cluster_batches
from vestigo_models.arrays import Float32Array, Int64Array, UInt8Array
from vestigo_models.errors import UsageError, WorkError
from vestigo_models.inference.package import ModelPackage, package_network
from vestigo_models.inference.preprocessing import normalise
from vestigo_models.networks.config import BackboneName
from vestigo_models.networks.outputs import BNNeck, NetworkOutput
from vestigo_models.progress import OpenProgress
from vestigo_models.training.checkpoint import load_checkpoint, write_checkpoint
from vestigo_models.training.config import AugmentationConfig, TrainConfig
from vestigo_models.training.data import ImageReader, batches
from vestigo_models.training.distributed import Ranks

CHECKPOINT = "adaptation.pt"
STATEFUL = ("student", "teacher", "adam")
"""Parts of an adaptation whose `state_dict` a checkpoint holds."""
RATE_FACTOR = 2 / 3
"""Learning rate as a fraction of that of the backbone's training, chosen on Market-1501's training identities."""
BOT_HEIGHT = 256
LOW_RATE_FROM = 2 / 3
"""Share of the epochs after which the learning rate is a tenth."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What is known at the end of an epoch."""

    epoch: int  # 1-based; 0 for the base
    criterion: float  # of the teacher, see `cross_camera_silhouette`
    clusters: int  # that the teacher forms
    clustered: float  # share of the crops in a cluster
    losses: dict[str, float]  # terms averaged over the epoch's steps


def backbone_rate(backbone: BackboneName) -> float:
    """Return the learning rate with which a backbone is adapted: a fraction of that of its training."""
    return RATE_FACTOR * TrainConfig.load("full", backbone=backbone).learning_rate


def bot_augmentation(height: int) -> AugmentationConfig:
    """Return the augmentation of BoT (Luo et al., CVPR Workshops 2019) for images of `height` pixels."""
    default = AugmentationConfig()
    return default.model_copy(update={"pad": round(default.pad * height / BOT_HEIGHT)})


class AdaptationRun:
    """An adaptation between two epochs, on one of the workers that train together."""

    def __init__(
        self, base: ModelPackage, data: AdaptationSet, config: AdaptationConfig, device: str, ranks: Ranks
    ) -> None:
        self.base, self.data, self.config, self.ranks = base, data, config, ranks
        self.device = torch.device(device)
        self.reader = ImageReader(data.paths, base.input_size, config.cache_gib)
        self.student = copy.deepcopy(base.network).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student.requires_grad_(True)
        for neck in self.student.necks.values():
            assert isinstance(neck, BNNeck)
            neck.norm.bias.requires_grad_(False)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.trained = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        self.rate = config.learning_rate or backbone_rate(base.config.network.backbone)
        self.adam = torch.optim.Adam(self.trained, lr=self.rate, weight_decay=config.weight_decay)
        self.augmentation = config.augmentation or bot_augmentation(base.input_size[0])
        self.best = copy.deepcopy(self.teacher.state_dict())
        self.steps = 0
        self.records: list[EpochRecord] = []
        self.vectors: Float32Array = np.empty((0, 0), dtype=np.float32)
        self.labels: Int64Array = np.empty(0, dtype=np.int64)

    @property
    def best_record(self) -> EpochRecord:
        """The epoch with the best criterion, the earliest of equal ones."""
        return max(self.records, key=lambda record: (record.criterion, -record.epoch))

    @property
    def has_ended(self) -> bool:
        """Whether all epochs are done, or the criterion has not improved for `patience` epochs."""
        epoch = self.records[-1].epoch
        return epoch >= self.config.epochs or epoch - self.best_record.epoch >= self.config.patience

    def adapt(self, checkpoint: Path, open_progress: OpenProgress) -> None:
        """Adapt to the end; every epoch is committed to the checkpoint.

        Raises:
            UsageError: If the teacher forms fewer clusters than a batch needs at least.
            WorkError: If the loss is not finite.
        """
        targets = BaseTargets.predict(
            self.base, self.reader, self.device, self.ranks, open_progress("predictions of the base")
        )
        self._cluster(open_progress)
        if not self.records:
            self._commit(checkpoint, {})
        while not self.has_ended:
            losses = self._train_epoch(targets, open_progress)
            self._cluster(open_progress)
            self._commit(checkpoint, losses)

    def result(self) -> ModelPackage:
        """Return the teacher of the best epoch as a package."""
        network = copy.deepcopy(self.teacher)
        network.load_state_dict(self.best)
        return package_network(self.base.config, network)

    def _cluster(self, open_progress: OpenProgress) -> None:
        """Compute the teacher's descriptors of all crops and cluster them."""
        self.ranks.broadcast_buffers(self.teacher)
        package = package_network(self.base.config, self.teacher)
        self.vectors = embed_crops(package, self.reader, self.device, self.ranks, open_progress("embedding"))
        self.labels = cluster_tracklets(self.vectors, self.data.tracklets, self.data.cameras, self._settings())
        clusters = int(self.labels.max()) + 1
        if clusters < 2:
            raise UsageError(
                f"the {len(self.data)} crops form {clusters} clusters, and adaptation needs at least 2: index more "
                "footage in which the same people are seen several times"
            )

    def _settings(self) -> ClusterSettings:
        config = self.config
        return ClusterSettings(k1=config.k1, k2=config.k2, radius=config.radius, min_crops=config.min_crops)

    def _commit(self, checkpoint: Path, losses: dict[str, float]) -> None:
        """Record the epoch, remember the teacher if it is the best, and write the checkpoint on worker 0."""
        record = EpochRecord(
            epoch=len(self.records),
            criterion=cross_camera_silhouette(self.vectors, self.labels, self.data.cameras),
            clusters=int(self.labels.max()) + 1,
            clustered=float((self.labels != NOT_CLUSTERED).mean()),
            losses=losses,
        )
        self.records.append(record)
        if self.best_record is record:
            self.best = copy.deepcopy(self.teacher.state_dict())
        if self.ranks.rank == 0:
            state = {
                "config": self.config.model_dump(mode="json"),
                "base": self.base.digest,
                "records": [asdict(each) for each in self.records],
                "steps": self.steps,
                "best": self.best,
                **{name: getattr(self, name).state_dict() for name in STATEFUL},
            }
            write_checkpoint(checkpoint, state)
        self.ranks.barrier()

    def load(self, checkpoint: Path) -> None:
        """Restore the state of a checkpoint; raise ModelError if it cannot be read or is of another adaptation."""
        state = load_checkpoint(checkpoint)
        for name in STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.best, self.steps = state["best"], state["steps"]
        self.records = [EpochRecord(**each) for each in state["records"]]

    def _train_epoch(self, targets: BaseTargets, open_progress: OpenProgress) -> dict[str, float]:
        """Train on the clusters and return the terms of the loss, averaged over the steps."""
        config, data, epoch = self.config, self.data, len(self.records)
        size = self.ranks.size
        memory = CentroidMemory(
            self.vectors,
            self.labels,
            data.cameras,
            temperature=config.temperature,
            momentum=config.momentum,
            camera_weight=config.camera_weight,
            hard_negatives=config.hard_negatives,
        ).to(self.device)
        plan = cluster_batches(
            self.labels,
            data.cameras,
            clusters=config.batch_clusters,
            crops=config.crops_per_cluster,
            rng=np.random.default_rng((config.seed, epoch, 0)),
        )
        width = plan.shape[1] // size
        share = slice(self.ranks.rank * width, (self.ranks.rank + 1) * width)
        for group in self.adam.param_groups:
            group["lr"] = self.rate * (0.1 if epoch > LOW_RATE_FROM * config.epochs else 1.0)
        progress = open_progress("learning")
        sums: dict[str, float] = {}
        upcoming = batches(
            self.reader, plan, self.augmentation, seed=config.seed, epoch=epoch, first=0, share=share, maps=targets.maps
        )
        self.student.train()
        for step, (images, maps) in enumerate(upcoming):
            for name, value in self._update(images, maps, plan[step, share], targets, memory).items():
                sums[name] = sums.get(name, 0.0) + value / len(plan)
            progress((epoch - 1) * len(plan) + step + 1, config.epochs * len(plan))
        return sums

    def _update(
        self,
        images: UInt8Array,
        maps: UInt8Array | None,
        rows: Int64Array,
        targets: BaseTargets,
        memory: CentroidMemory,
    ) -> dict[str, float]:
        """Take one step on this worker's images (B, H, W, 3); return the terms, averaged over the workers."""
        config = self.config
        output = self.student(normalise(images, self.base.config.mean, self.base.config.std, self.device))
        vectors = output_vectors(output, self.base)
        labels, cameras = self._tensor(self.labels[rows]), self._tensor(self.data.cameras[rows])
        terms = memory(vectors, labels, cameras) | self._distil(output, maps, rows, targets)
        terms["total"] = terms["contrast"] + config.distillation * (terms["attributes"] + terms["regions"])
        self.adam.zero_grad()
        terms["total"].backward()
        self.ranks.average_gradients(self.trained)
        values = dict(zip(terms, self.ranks.mean(torch.stack(list(terms.values())).detach()).tolist(), strict=True))
        if not np.isfinite(values["total"]):
            raise WorkError(
                f"the loss is not finite in epoch {len(self.records)}; lower --learning-rate and adapt again"
            )
        self.adam.step()
        gather = self.ranks.gather
        memory.update(gather(vectors.detach()), gather(labels), gather(cameras))
        self._move_teacher()
        return values

    def _distil(
        self, output: NetworkOutput, maps: UInt8Array | None, rows: Int64Array, targets: BaseTargets
    ) -> dict[str, Tensor]:
        """Return the divergences from the base's attributes, averaged over attributes, and regions, over cells."""
        zero = torch.zeros((), device=self.device)
        terms = {"attributes": zero, "regions": zero}
        if output.attributes is not None and targets.attributes is not None and self.base.schema is not None:
            base = torch.from_numpy(targets.attributes[rows]).to(self.device)
            divergence = functional.kl_div(output.attributes, base, reduction="batchmean")
            terms["attributes"] = divergence / len(self.base.schema)
        if output.region_logits is not None and maps is not None:
            terms["regions"] = functional.cross_entropy(output.region_logits, self._tensor(maps.astype(np.int64)))
        return terms

    @torch.no_grad()
    def _move_teacher(self) -> None:
        """Average the student into the teacher; the first steps count alike."""
        self.steps += 1
        momentum = min(self.config.teacher_momentum, 1 - 1 / (self.steps + 1))
        student = self.student.state_dict()
        for name, value in self.teacher.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(student[name], 1 - momentum)

    def _tensor(self, values: Int64Array) -> Tensor:
        return torch.from_numpy(values).to(self.device)
