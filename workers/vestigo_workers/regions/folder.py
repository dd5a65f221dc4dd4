"""The images of a folder or a dataset that are to be labelled, and the files of their label maps."""

import filecmp
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.archive import open_folder
from vestigo.datasets.files import GALLERY, QUERY, TRAIN, list_files, parse_name
from vestigo.datasets.recognise import recognise_files
from vestigo.ingest.sources.naming import is_archive
from vestigo.reports.panels import panel
from vestigo_models.errors import UsageError
from vestigo_models.inference.images import IMAGE_SUFFIXES, find_images
from vestigo_models.inference.region_finder import MOST_IMAGES, RegionMap
from vestigo_models.parsing.label_folder import DESCRIPTION
from vestigo_models.private_files import create_private

PANELS = "panels"
"""Sub-folder for panels, which would be taken for label maps next to the maps."""
SPLITS = {"train": TRAIN, "query": QUERY, "gallery": GALLERY}


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """An image to be labelled; its map is written to `target` (without suffix) below the output folder.

    `identity` is the identity in its file name, None if there is none.
    """

    path: Path
    target: Path
    identity: int | None


def source_images(source: Path, out: Path, split: str | None = None) -> list[SourceImage]:
    """Find the images of a source, in order of their paths.

    A dataset, a folder or an archive, gives those of its splits, junk included, or of one `split`; their maps are
    written to one folder. Another folder gives those in and below it, and their maps keep the sub-folders; maps that an
    earlier call wrote to `out` are skipped.

    Raises:
        UsageError: There is no image, two of them would have one map, or the dataset has no such split.
        DatasetError: The archive cannot be read or holds no dataset.
    """
    root = open_folder(source).root if source.is_file() and is_archive(source.name) else source
    files = list_files(root) if root.is_dir() else None
    splits = files.splits if files is not None and recognise_files(files) is not None else {}
    if split is not None and not splits:
        raise UsageError(f"--split {split}: {source} is no dataset; name the folder of images itself")
    if splits:
        found = {key: splits[name] for key, name in SPLITS.items() if name in splits}
        if split is not None and split not in found:
            raise UsageError(f"--split {split}: {source} has no such split; it has {', '.join(found)}")
        parts = [part for key, part in found.items() if split in (None, key)]
        paths = [part.folder / name for part in parts for name in part.names]
        targets = [Path(path.stem) for path in paths]
    elif source.is_dir():
        excluded = out.resolve()
        if excluded == source.resolve():
            raise UsageError(f"--out {out}: is the source itself; give another folder")
        paths = [path for path in find_images(source) if excluded not in path.resolve().parents]
        targets = [path.relative_to(source).with_suffix("") for path in paths]
    elif source.is_file():
        paths, targets = [source], [Path(source.stem)]
    else:
        raise UsageError(f"{source}: no such file or folder")
    if not paths:
        raise UsageError(f"{source}: holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    first: dict[Path, Path] = {}
    for path, target in zip(paths, targets, strict=True):
        # Two equal files (an image in two splits) have one map.
        other = first.setdefault(target, path)
        if other != path and not filecmp.cmp(other, path, shallow=False):
            raise UsageError(f"{other} and {path} would both be {target}.png; rename one, or take one folder at a time")
    return [SourceImage(path=path, target=target, identity=identity_of(path.name)) for target, path in first.items()]


def identity_of(name: str) -> int | None:
    """Return the identity in a benchmark's file name; None for other names, distractors (0) and junk (-1)."""
    label = parse_name(name)
    return label.pid if label is not None and label.pid > 0 else None


def group_by_identity(images: Sequence[SourceImage]) -> list[list[SourceImage]]:
    """Group images that are clustered together: at most `MOST_IMAGES` of one identity; the others alone."""
    groups: list[list[SourceImage]] = []
    open_group: dict[int, list[SourceImage]] = {}
    for image in images:
        group = None if image.identity is None else open_group.get(image.identity)
        if group is None or len(group) == MOST_IMAGES:
            groups.append(group := [])
            if image.identity is not None:
                open_group[image.identity] = group
        group.append(image)
    return groups


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Write the file that names the ids of the label maps in a folder.

    Raises:
        UsageError: The folder has another description.
    """
    path = folder / DESCRIPTION
    text = (json.dumps(description, indent=2) + "\n").encode()
    if not path.is_file():
        write_file(path, text)
    elif path.read_bytes() != text:
        raise UsageError(f"{folder} holds label maps of another kind ({DESCRIPTION}): give another folder")


def write_file(path: Path, data: bytes) -> None:
    """Write a private file, and its folder if there is none."""
    with create_private(path) as file:
        file.write(data)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return the PNG bytes of a label map (h x w) or an RGB image (h x w x 3), uint8."""
    done, buffer = cv2.imencode(".png", pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"cannot encode an array of shape {pixels.shape}")
    return bytes(buffer.tobytes())


def write_panel(path: Path, image: NDArray[np.uint8], region_map: RegionMap, *, fused: bool) -> None:
    """Write a panel to a file, see `encode_panel`."""
    write_file(path, encode_panel(image, region_map, fused=fused))


def encode_panel(image: NDArray[np.uint8], region_map: RegionMap, *, fused: bool) -> bytes:
    """Return the PNG of an image with the parser's regions, the clusters, and (if `fused`) the fused regions."""
    layers = [("parser", region_map.body)]
    if region_map.clusters is not None:
        layers.append(("clusters", region_map.clusters))
    if fused:
        layers.append(("regions", region_map.labels))
    return encode_png(panel(image, layers))
