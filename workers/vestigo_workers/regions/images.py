"""Label the images of a folder on an executor, and write one PNG per image."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vestigo.evaluation.fls import FusionCounts, FusionEvaluator
from vestigo_models.errors import BadInput, WorkError
from vestigo_models.inference.images import read_image
from vestigo_models.inference.region_finder import NamedImage
from vestigo_models.isolation import map_each
from vestigo_models.progress import ProgressCallback, ignore_progress
from vestigo_workers.executors.batches import Batch, BatchPool
from vestigo_workers.regions.folder import (
    PANELS,
    SourceImage,
    encode_panel,
    encode_png,
    group_by_identity,
    write_description,
    write_file,
)
from vestigo_workers.regions.plan import FinderSettings
from vestigo_workers.regions.worker import make_finder

Group = tuple[Path, ...]
"""Images that are clustered together."""


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """PNG files of an image: its label map, and its panel if it is requested."""

    labels: bytes
    panel: bytes | None
    has_belongings: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledGroups:
    """What a worker makes of a batch of groups."""

    description: dict[str, Any]  # Meaning of the ids, see `RegionFinder.description`
    groups: tuple[tuple[LabelledImage | BadInput, ...], ...]  # In the order of the batch
    counts: FusionCounts | None  # Agreement with true label maps; None if it is not requested


@dataclass(frozen=True, kw_only=True)
class FolderResult:
    """The images that were labelled."""

    description: dict[str, Any]  # Meaning of the ids, see `RegionFinder.description`
    with_belongings: int  # Number of images
    failures: list[dict[str, str]]  # `image`, `reason` and `detail` of every failing image, in order of the images


class ImageLabeller:
    """Loads parser and model once and labels batches of groups.

    Args:
        settings: Parser and model.
        panels: Whether panels are drawn.
        judge: What compares label maps with true ones; None if nothing does.
    """

    def __init__(self, settings: FinderSettings, panels: bool, judge: FusionEvaluator | None) -> None:
        clusters = (panels or judge is not None) and settings.model is not None
        self._finder = make_finder(settings, clusters=clusters)
        self._panels = panels
        self._judge = judge

    def process(self, batch: Batch[Group]) -> LabelledGroups:
        """Label the images of a batch; memory is the images of a few groups, and the files."""
        waiting: deque[list[NamedImage | BadInput]] = deque()
        counts = None if self._judge is None else self._judge.no_counts()
        groups = []
        for paths, maps in zip(batch.inputs, self._finder.find(_read_groups(batch.inputs, waiting)), strict=True):
            labelled: list[LabelledImage | BadInput] = []
            judged = []
            region_maps = iter(maps)
            for path, image in zip(paths, waiting.popleft(), strict=True):
                if isinstance(image, BadInput):
                    labelled.append(image)
                    continue
                region_map = next(region_maps)
                if isinstance(region_map, BadInput):
                    labelled.append(region_map)
                    continue
                judged.append((path, region_map))
                fused = self._finder.adds_belongings
                labelled.append(
                    LabelledImage(
                        labels=encode_png(region_map.labels),
                        panel=encode_panel(image.pixels, region_map, fused=fused) if self._panels else None,
                        has_belongings=region_map.has_belongings,
                    )
                )
            if self._judge is not None and counts is not None and judged:
                counts += self._judge.count(*zip(*judged, strict=True))
            groups.append(tuple(labelled))
        return LabelledGroups(description=self._finder.description, groups=tuple(groups), counts=counts)


def label_images(
    images: Sequence[SourceImage],
    out: Path,
    settings: FinderSettings,
    *,
    panels: bool = False,
    judge: FusionEvaluator | None = None,
    progress: ProgressCallback = ignore_progress,
) -> FolderResult:
    """Write the label map of every image below `out`, and with `panels` its panel; a failing image is skipped.

    Files are written atomically by this process, whatever the executor. Images of one identity are processed together,
    at most `shard_size` images of several identities at once. `judge` receives the counts of all images.

    Raises:
        UsageError: `out` holds label maps of another kind.
        WorkError: A file cannot be written, no worker starts, or workers die of every image.
    """
    groups = group_by_identity(images)
    errors: dict[Path, BadInput] = {}
    with_belongings = done = 0
    description: dict[str, Any] | None = None
    factory = partial(ImageLabeller, settings, panels, judge)
    pool: BatchPool[Group, LabelledGroups] = BatchPool(factory, settings)
    try:
        with pool:
            for batch, result in pool.process(_cut_groups(groups, settings.shard_size), ignore_progress):
                members = groups[batch.first : batch.first + len(batch.inputs)]
                done += sum(map(len, members))
                if isinstance(result, BadInput):
                    errors |= {image.path: result for group in members for image in group}
                else:
                    description = result.description
                    write_description(out, description)
                    if judge is not None and result.counts is not None:
                        judge.add(result.counts)
                    for group, labelled in zip(members, result.groups, strict=True):
                        for image, files in zip(group, labelled, strict=True):
                            if isinstance(files, BadInput):
                                errors[image.path] = files
                                continue
                            with_belongings += files.has_belongings
                            _write_image(image, files, out, description)
                progress(done, len(images))
            if description is None:
                [(_, empty)] = pool.process([Batch(first=0, inputs=())], ignore_progress)
                assert isinstance(empty, LabelledGroups)
                description = empty.description
    except OSError as error:
        raise WorkError(f"cannot write to {out}: {error.strerror or error}") from error
    failed = [(image.path, errors[image.path]) for image in images if image.path in errors]
    failures = [{"image": str(path), "reason": error.reason, "detail": error.detail} for path, error in failed]
    return FolderResult(description=description, with_belongings=with_belongings, failures=failures)


def _cut_groups(groups: Sequence[Sequence[SourceImage]], size: int) -> Iterator[Batch[Group]]:
    """Divide groups into batches of at most `size` images; a group is never cut."""
    first = 0
    batch: list[Group] = []
    for position, group in enumerate(groups):
        if batch and sum(map(len, batch)) + len(group) > size:
            yield Batch(first=first, inputs=tuple(batch))
            first, batch = position, []
        batch.append(tuple(image.path.absolute() for image in group))
    if batch:
        yield Batch(first=first, inputs=tuple(batch))


def _read_groups(groups: Sequence[Group], waiting: deque[list[NamedImage | BadInput]]) -> Iterator[list[NamedImage]]:
    """Yield the readable images of each group; all of its images, or errors, are appended to `waiting` before."""
    decoded = map_each(read_image, [path for group in groups for path in group])
    for group in groups:
        images: list[NamedImage | BadInput] = []
        for path in group:
            pixels = next(decoded)
            images.append(pixels if isinstance(pixels, BadInput) else NamedImage(name=path.name, pixels=pixels))
        waiting.append(images)
        yield [image for image in images if isinstance(image, NamedImage)]


def _write_image(image: SourceImage, files: LabelledImage, out: Path, description: dict[str, Any]) -> None:
    name = f"{image.target.name}.png"
    folder = out / image.target.parent
    write_description(folder, description)
    write_file(folder / name, files.labels)
    if files.panel is not None:
        write_file(out / PANELS / image.target.parent / name, files.panel)
