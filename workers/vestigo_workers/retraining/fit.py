"""Train a candidate model from labels: refit its attribute heads or train the whole network, here or on Ray workers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import ray.train.torch
import yaml
from numpy.typing import NDArray

from vestigo_models.errors import ConfigError, ModelError
from vestigo_models.inference.package import ModelPackage, resolve_model
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_models.training.data import ImageReader, TrainingSet
from vestigo_models.training.distributed import Ranks
from vestigo_models.training.finetune import EPOCHS, MIN_LABEL_PROBABILITY, finetuning_config, predict_label_maps
from vestigo_models.training.head_refit import AttributeTargets, extract_pooled, fit_heads, replace_heads
from vestigo_models.training.trainer import LOG, RECIPE, train
from vestigo_workers.training.distributed import ProcessGroup, run_on_workers, train_distributed

RetrainMode = Literal["heads", "all"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrainingData:
    """N training crops: annotated ones first, then replayed ones."""

    paths: tuple[Path, ...]
    identities: NDArray[np.int64]  # (N,) int64, 0, 1, ...; a tracklet of unknown identity is an identity of its own
    camids: NDArray[np.int64]  # (N,) int64, cameras
    targets: AttributeTargets  # attribute targets
    replayed: int = 0  # how many of the crops are replayed

    def __post_init__(self) -> None:
        if not len(self.paths) == len(self.identities) == len(self.camids) == len(self.targets):
            raise ValueError("paths, identities, camids and targets must be equally long")

    def __len__(self) -> int:
        return len(self.paths)


def retrain(
    base: str | Path,
    data: RetrainingData,
    out: Path,
    *,
    mode: RetrainMode,
    workers: int = 1,
    device: str = "cpu",
    seed: int = 0,
    epochs: int | None = None,
    progress: ProgressCallback = ignore_progress,
    trained_on: Mapping[str, Any] | None = None,
) -> ModelPackage:
    """Train a candidate model from the package `base` and write it atomically to the new folder `out`.

    `heads` refits the attribute heads on the features of the frozen network, see `fit_heads`. `all` does so and then
    trains the whole network (linear probing, then fine-tuning: Kumar et al., ICLR 2022), see `finetuning_config`.
    There, weights of targets have no effect, and a distribution counts if one class is confident. Its heads forget
    rare values in this training, so that they are replaced by refitted heads, refitted once more on its features.
    Several `workers` share the crops; all of them must see the files, `base` and `out`.

    `seed` and `epochs` (3 by default) are those of mode `all`; refitting heads is deterministic. `progress` receives
    crops read, or steps done; with several workers in mode `all` only. `trained_on` is added to the facts of the base.

    Raises:
        ConfigError: The model predicts no attributes, epochs are given for `heads`, or there are too few identities
            for `all`.
        DatasetError: An image cannot be read, or there is no target.
        ModelError: There is no such base, or `out` is not empty.
        WorkError: A worker died.
    """
    folder = resolve_model(base).resolve()
    data = replace(data, paths=tuple(path.absolute() for path in data.paths))
    if mode == "heads" and epochs is not None:
        raise ConfigError(f"epochs={epochs}: heads are refitted to convergence; epochs are for mode all")
    _require_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = dict(trained_on or {})
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent.resolve()) as temporary:
        candidate = Path(temporary) / "heads"
        reading = progress if mode == "heads" else ignore_progress
        _refit({"base": folder, "data": data, "out": candidate, "trained_on": facts}, workers, device, reading)
        if mode == "all":
            heads, trained, candidate = candidate, Path(temporary) / "trained", Path(temporary) / "all"
            epochs = EPOCHS if epochs is None else epochs
            _train_network(heads, data, trained, workers, device, seed, epochs, progress)
            _refit({"base": trained, "data": data, "out": candidate}, workers, device, ignore_progress)
            (trained / LOG).rename(candidate / LOG)
            # The recipe names the base of the user instead of the refitted one, which is temporary.
            recipe = yaml.safe_load((trained / RECIPE).read_text("utf-8")) | {"base": str(base)}
            (candidate / RECIPE).write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
        _require_free(out)
        candidate.rename(out)
    return ModelPackage.from_pretrained(out)


def _refit(settings: dict[str, Any], workers: int, device: str, progress: ProgressCallback) -> None:
    """Call `_refit_share` with settings in this process or on several workers."""
    if workers == 1:
        _refit_share(**settings, device=device, ranks=Ranks(), progress=progress)
        return
    remedy = "nothing was written, run it again"
    on_gpus = device.startswith("cuda")
    # Heads are fitted on CPUs, so gradients are summed there.
    run_on_workers(_refit_on_worker, settings, workers=workers, on_gpus=on_gpus, remedy=remedy, backend="gloo")


def _refit_on_worker(settings: dict[Any, Any]) -> None:
    _refit_share(**settings, device=str(ray.train.torch.get_device()), ranks=ProcessGroup(), progress=ignore_progress)


def _refit_share(
    base: Path,
    data: RetrainingData,
    out: Path,
    *,
    device: str,
    ranks: Ranks,
    progress: ProgressCallback,
    trained_on: Mapping[str, Any] | None = None,
) -> None:
    """Refit heads together with the other workers; the first one writes the package."""
    package = ModelPackage.from_pretrained(base)
    rows = np.arange(ranks.rank, len(data), ranks.size)
    reader = ImageReader(data.paths, package.input_size, 0.0)
    images = (reader.read(int(row)) for row in rows)
    pooled = extract_pooled(package, images, device, progress=lambda done, _: progress(done, len(rows)))
    fitted = fit_heads(package, pooled, data.targets.select(rows), ranks=ranks, trained_on=trained_on)
    if ranks.rank == 0:
        fitted.save_pretrained(out)
    ranks.barrier()


def _train_network(
    base: Path,
    data: RetrainingData,
    out: Path,
    workers: int,
    device: str,
    seed: int,
    epochs: int,
    progress: ProgressCallback,
) -> None:
    package = ModelPackage.from_pretrained(base)
    assert package.schema is not None
    labels = data.targets.labels(package.schema, MIN_LABEL_PROBABILITY)
    labelled = (labels >= 0).sum(axis=1)
    recipe = finetuning_config(
        package,
        base,
        len(np.unique(data.identities)),
        epochs=epochs,
        noise=round(float(labelled @ data.targets.noise / labelled.sum()), 4),
        seed=seed,
    )
    images = TrainingSet(
        paths=data.paths,
        pids=data.identities,
        camids=data.camids,
        schema=package.schema,
        attributes=labels,
        parsed=predict_label_maps(package, data.paths, device) if recipe.needs_parser else None,
    )

    trained_on = package.config.trained_on
    if workers > 1:
        train_distributed(recipe, images, out, workers=workers, device=device, progress=progress, trained_on=trained_on)
    else:
        train(recipe, images, out, device=device, progress=progress, trained_on=trained_on)
    replace_heads(ModelPackage.from_pretrained(out), package).save_pretrained(out)


def _require_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError(f"{out} already exists; give a new folder for the candidate model")
