"""Where a dataset keeps the label maps of its images: `regions/<split>/NAME.png`, and `regions-behind` beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vestigo_models.errors import DatasetError

REGIONS, BEHIND = "regions", "regions-behind"
"""What each pixel shows (ids 0-5), and what it would show of the person were it not for their belongings (0-4)."""


def region_maps(root: Path, images: Sequence[Path], folder: str = REGIONS) -> tuple[Path, ...]:
    """The label map of each of the dataset's images, in their order.

    Raises:
        DatasetError: the dataset under `root` has no label maps, or lacks one.
    """
    if not (root / folder).is_dir():
        option = " --behind" if folder == BEHIND else ""
        raise DatasetError(
            f"{root} has no {folder}/ with a label map for each image; `vestigo render{option}` writes such datasets"
        )
    maps = tuple(root / folder / image.parent.name / f"{image.stem}.png" for image in images)
    if missing := [path for path in maps if not path.is_file()]:
        raise DatasetError(f"{len(missing)} images have no label map, the first is {missing[0]}; restore it")
    return maps
