"""Adaptation of a model package to unlabelled crops, which can be interrupted at any point and resumed."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from vestigo_models.adaptation.config import AdaptationConfig
from vestigo_models.adaptation.data import AdaptationSet
from vestigo_models.adaptation.run import CHECKPOINT, AdaptationRun, EpochRecord
from vestigo_models.errors import ConfigError
from vestigo_models.inference.package import ModelPackage
from vestigo_models.progress import OpenProgress, ignore_stages
from vestigo_models.training.distributed import Ranks


def adapt(
    base: Path,
    data: AdaptationSet,
    config: AdaptationConfig,
    out: Path,
    *,
    device: str = "cpu",
    ranks: Ranks | None = None,
    open_progress: OpenProgress = ignore_stages,
    trained_on: dict[str, Any] | None = None,
) -> tuple[EpochRecord, ...]:
    """Adapt the package `base` to unlabelled crops and write the result into the folder `out`.

    The folder also holds the checkpoint, from which a call with the same arguments continues. It is shared by the
    workers that train together (`ranks`); by default there is only this process.

    Args:
        base: Folder of the package.
        data: Crops.
        config: Settings.
        out: Folder of the result.
        device: Where the networks run.
        ranks: Workers that train together.
        open_progress: Opens progress displays.
        trained_on: Facts for the package, added to those of the base.

    Returns:
        The records of the base and of every epoch. The result is the teacher of the one with the highest criterion.

    Raises:
        ConfigError: The batch cannot be shared by the workers.
        DatasetError: An image cannot be read.
        ModelError: The checkpoint cannot be read.
        UsageError: The crops form too few clusters.
        WorkError: The loss is not finite.
    """
    ranks = ranks or Ranks()
    if config.batch_clusters % ranks.size:
        raise ConfigError(f"batch_clusters={config.batch_clusters}: not a multiple of the {ranks.size} workers")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    package = ModelPackage.from_pretrained(base)
    run = AdaptationRun(package, data, config, device, ranks)
    if (out / CHECKPOINT).exists():
        run.load(out / CHECKPOINT)
    run.adapt(out / CHECKPOINT, open_progress)
    if ranks.rank == 0:
        adapted = run.result()
        facts = {
            "crops": len(data),
            "tracklets": int(data.tracklets.max()) + 1,
            "cameras": int(data.cameras.max()) + 1,
            "config": config.model_dump(mode="json"),
            "epochs": [asdict(record) for record in run.records],
        }
        trained = {**package.config.trained_on, **(trained_on or {}), "adaptation": facts}
        config_out = adapted.config.model_copy(update={"trained_on": trained, "judged": {}})
        ModelPackage(config_out, adapted.network).save_pretrained(out)
    ranks.barrier()
    return tuple(run.records)
