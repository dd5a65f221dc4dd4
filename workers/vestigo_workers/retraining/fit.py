"""Corrected labels become a challenger: refitted heads, or a whole network trained on, alone or through Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from vestigo_models.training.data import ImageReader, TrainingSet
from vestigo_models.training.distributed import Alone, Ranks
from vestigo_models.training.finetune import EPOCHS, SURE, own_maps, retraining_recipe
from vestigo_models.training.head_refit.data import Targets, read_pooled
from vestigo_models.training.head_refit.fit import fit_heads, with_heads
from vestigo_models.training.state import Progress
from vestigo_models.training.trainer import LOG, RECIPE, train
from vestigo_workers.training.distributed import ProcessGroup, run_on_workers, train_distributed

Advance = Callable[[int, int], None]
"""Told how much of how much is done."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrainingData:
    """N crops to learn from: corrected ones, and those that are replayed.

    Attributes:
        paths: their files.
        identities: (N,) int64, 0, 1, ...; a tracklet of somebody whom nobody knows is an identity of its own.
        camids: (N,) int64, cameras.
        targets: what is to be learnt of their attributes.
    """

    paths: tuple[Path, ...]
    identities: NDArray[np.int64]
    camids: NDArray[np.int64]
    targets: Targets

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
    mode: Literal["heads", "all"],
    workers: int = 1,
    device: str = "cpu",
    seed: int = 0,
    epochs: int | None = None,
    progress: Advance | None = None,
    trained_on: Mapping[str, Any] | None = None,
) -> ModelPackage:
    """Make a challenger of the package `base` and write it to the new folder `out`, whole or not at all.

    `heads` refits the attribute heads on what the frozen network reads, see `fit_heads`. `all` does so first and then
    trains the whole network on (linear probing, then fine-tuning: Kumar et al., ICLR 2022), see `retraining_recipe`;
    weights of targets do not count there, and a distribution counts where it is sure of a class. What its own heads
    learn in that is given up, as rare values are forgotten: it gets the refitted ones, refitted once more on its
    features. Several `workers` share the crops; files, `base` and `out` lie where all of them see them.

    Args:
        seed: of `all`; refitting heads has no chance in it.
        epochs: of `all`, 3 where it is None.
        progress: told how many crops are read, or how many steps are done; of several workers for `all` only.
        trained_on: facts for the package, beside those that the base has.

    Raises:
        ConfigError: the model predicts no attributes, epochs for `heads`, or too few identities for `all`.
        DatasetError: an image cannot be read, or there is no target.
        ModelError: there is no such base, or `out` is occupied.
        WorkError: a worker died.
    """
    folder = resolve_model(base).resolve()
    data = replace(data, paths=tuple(path.absolute() for path in data.paths))
    if mode == "heads" and epochs is not None:
        raise ConfigError(f"epochs={epochs}: heads are refitted to the end; epochs are for mode all")
    _require_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = dict(trained_on or {})
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent.resolve()) as beside:
        made = Path(beside) / "heads"
        _refit(folder, data, made, workers, device, facts, progress if mode == "heads" else None)
        if mode == "all":
            heads, trained, made = made, Path(beside) / "trained", Path(beside) / "all"
            _train_on(heads, data, trained, workers, device, seed, EPOCHS if epochs is None else epochs, progress)
            _refit(trained, data, made, workers, device, {}, None)
            (trained / LOG).rename(made / LOG)
            _keep_recipe(trained / RECIPE, made / RECIPE, str(base))
        _require_free(out)
        made.rename(out)
    return ModelPackage.from_pretrained(out)


def _refit(
    base: Path,
    data: RetrainingData,
    out: Path,
    workers: int,
    device: str,
    facts: dict[str, Any],
    progress: Advance | None,
) -> None:
    settings: dict[str, Any] = {"base": base, "data": data, "out": out, "trained_on": facts}
    if workers == 1:
        _refit_share(**settings, device=device, ranks=Alone(), progress=progress)
        return
    # Heads are fitted on CPUs, so that is where gradients are summed.
    run_on_workers(
        _refit_on_worker,
        settings,
        workers=workers,
        on_gpus=device.startswith("cuda"),
        remedy="nothing was written, run it again",
        backend="gloo",
    )


def _refit_on_worker(settings: dict[Any, Any]) -> None:
    _refit_share(**settings, device=str(ray.train.torch.get_device()), ranks=ProcessGroup(), progress=None)


def _refit_share(
    base: Path,
    data: RetrainingData,
    out: Path,
    trained_on: dict[str, Any],
    device: str,
    ranks: Ranks,
    progress: Advance | None,
) -> None:
    """Refit heads together with the other workers; the first one writes the package."""
    package = ModelPackage.from_pretrained(base)
    rows = np.arange(ranks.rank, len(data), ranks.size)
    reader = ImageReader(data.paths, package.input_size, 0.0)
    advance = None if progress is None else lambda done: progress(done, len(rows))
    pooled = read_pooled(package, (reader.read(int(row)) for row in rows), device, progress=advance)
    fitted = fit_heads(package, pooled, data.targets.at(rows), ranks=ranks, trained_on=trained_on)
    if ranks.rank == 0:
        fitted.save_pretrained(out)
    ranks.barrier()


def _train_on(
    base: Path,
    data: RetrainingData,
    out: Path,
    workers: int,
    device: str,
    seed: int,
    epochs: int,
    progress: Advance | None,
) -> None:
    package = ModelPackage.from_pretrained(base)
    assert package.schema is not None
    labels = data.targets.labels(package.schema, SURE)
    told = (labels >= 0).sum(axis=1)
    recipe = retraining_recipe(
        package,
        base,
        len(np.unique(data.identities)),
        epochs=epochs,
        noise=round(float(told @ data.targets.noise / told.sum()), 4),
        seed=seed,
    )
    images = TrainingSet(
        paths=data.paths,
        pids=data.identities,
        camids=data.camids,
        schema=package.schema,
        attributes=labels,
        parsed=own_maps(package, data.paths, device) if recipe.needs_parser else None,
    )

    def show(at: Progress) -> None:
        if progress:
            progress((at.epoch - 1) * at.steps + at.step, at.epochs * at.steps)

    trained_on = package.config.trained_on
    if workers > 1:
        train_distributed(recipe, images, out, workers=workers, device=device, progress=show, trained_on=trained_on)
    else:
        train(recipe, images, out, device=device, progress=show, trained_on=trained_on)
    with_heads(ModelPackage.from_pretrained(out), package).save_pretrained(out)


def _keep_recipe(trained: Path, made: Path, base: str) -> None:
    """Name the base that was asked for in the place of the refitted one, which nobody sees."""
    told = yaml.safe_load(trained.read_text("utf-8"))
    made.write_text(yaml.safe_dump(told | {"base": base}, sort_keys=False), encoding="utf-8")


def _require_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ModelError(f"{out} is there already; give a new folder for the challenger")
