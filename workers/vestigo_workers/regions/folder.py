"""Label maps of a folder of images, one image, or a dataset: one PNG an image, worked off in this process."""

from __future__ import annotations

import filecmp
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo.datasets.formats.layout import GALLERY, QUERY, TRAIN, image_names
from vestigo.datasets.recognise import FORMATS, recognise
from vestigo.reports.panels import panel
from vestigo_models.errors import BadInput, UsageError, WorkError
from vestigo_models.inference.images import IMAGE_SUFFIXES, read_image
from vestigo_models.inference.region_finder import MOST_IMAGES, NamedImage, RegionFinder, RegionMap
from vestigo_models.parsing.label_folder import DESCRIPTION

PANELS = "panels"
"""Sub-folder for the pictures: beside the maps they would be taken for maps."""
PARTIAL = ".partial"


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Say in a folder of label maps what their ids are.

    Raises:
        UsageError: it says something else already.
    """
    path = folder / DESCRIPTION
    text = (json.dumps(description, indent=2) + "\n").encode()
    if path.is_file():
        if path.read_bytes() != text:
            raise UsageError(f"{folder} holds label maps of another kind ({DESCRIPTION}): give another folder")
        return
    write_whole(path, text)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears under its name whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    partial.write_bytes(data)
    os.replace(partial, path)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """PNG bytes of a label map (h x w) or an RGB picture (h x w x 3), uint8."""
    done, buffer = cv2.imencode(".png", pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"cannot encode an array of shape {pixels.shape}")
    return bytes(buffer.tobytes())


def picture_of(image: NDArray[np.uint8], found: RegionMap, *, fused: bool) -> NDArray[np.uint8]:
    """The panel of one image: what the parser said, what clustering saw, and (with FLS) what came out of both."""
    layers = [("parser", found.body)]
    if found.clusters is not None:
        layers.append(("clusters", found.clusters))
    if fused:
        layers.append(("regions", found.labels))
    return panel(image, layers)


SPLITS = {"train": TRAIN, "query": QUERY, "gallery": GALLERY}

Report = Callable[[int, int | None], None]
Watch = Callable[[Sequence[Path], Sequence[RegionMap]], None]
"""Sees the images of one identity and their maps."""


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """An image to be labelled; its map is written to `target` (without suffix) below the output folder.

    `identity` is whom it shows, as its file name tells; None where that is not known.
    """

    path: Path
    target: Path
    identity: int | None


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An image without a label map, and why."""

    image: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What became of a source: images = label maps + left out."""

    images: int
    with_belongings: int
    left_out: tuple[LeftOut, ...]


def source_images(source: Path, out: Path, split: str | None = None) -> list[SourceImage]:
    """Find the images of a source, in order of their paths.

    A dataset gives those of its splits, junk included, or of one `split`, whose maps lie side by side; a folder those
    in and below it, whose maps keep the sub-folders, without what an earlier call wrote to `out`.

    Raises:
        UsageError: there is no image, or two of them would have one map.
    """
    layout = recognise(source) if source.is_dir() else None
    if split is not None and layout is None:
        raise UsageError(f"--split {split}: {source} is no dataset; name the folder of images itself")
    if layout is not None:
        folders = [source / name for key, name in SPLITS.items() if split in (None, key)]
        found = [(path, Path(path.stem)) for folder in folders for path in _files(folder)]
    elif source.is_dir():
        if out.resolve() == source.resolve():
            raise UsageError(f"--out {out}: is the source itself; give another folder")
        inside = out.resolve()
        paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        paths = [path for path in paths if inside not in path.resolve().parents]
        found = [(path, path.relative_to(source).with_suffix("")) for path in paths]
    elif source.is_file():
        found = [(source, Path(source.stem))]
    else:
        raise UsageError(f"{source}: no such file or folder")
    if not found:
        raise UsageError(f"{source}: holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return list(_without_twins(found))


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in image_names(folder)]


def _without_twins(found: Sequence[tuple[Path, Path]]) -> Iterator[SourceImage]:
    """Leave out the second of two equal files (a picture in two splits); refuse two different ones with one map."""
    known: dict[Path, Path] = {}
    for path, target in found:
        other = known.setdefault(target, path)
        if other == path:
            yield SourceImage(path=path, target=target, identity=identity_of(path.name))
        elif not filecmp.cmp(other, path, shallow=False):
            raise UsageError(f"{other} and {path} would both be {target}.png; rename one, or take one folder at a time")


def identity_of(name: str) -> int | None:
    """The identity in a benchmark's file name; None for other names, distractors (0) and junk (-1)."""
    for layout in FORMATS.values():
        if match := layout.pattern.match(name):
            return int(match["pid"]) if int(match["pid"]) > 0 else None
    return None


def by_identity(images: Sequence[SourceImage]) -> list[list[SourceImage]]:
    """Group images that are clustered together: those of one identity, at most `MOST_IMAGES`; others alone."""
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


def label_images(
    images: Sequence[SourceImage],
    out: Path,
    finder: RegionFinder,
    *,
    panels: bool,
    report: Report,
    watch: Watch | None = None,
) -> Labelled:
    """Write the label map of every image below `out`, and with `panels` its picture; an image that fails is left out.

    A map appears under its name whole or not at all. Memory is the images of one identity.

    Raises:
        UsageError: `out` holds label maps of another kind.
        WorkError: a file cannot be written.
    """
    waiting: deque[list[tuple[SourceImage, NamedImage]]] = deque()
    left_out: list[LeftOut] = []
    carrying = done = 0

    def leave_out(image: SourceImage, error: BadInput) -> None:
        left_out.append(LeftOut(image=str(image.path), reason=error.reason, detail=error.detail))

    def identities() -> Iterator[list[NamedImage]]:
        for group in by_identity(images):
            read: list[tuple[SourceImage, NamedImage]] = []
            for image in group:
                try:
                    read.append((image, NamedImage(name=image.path.name, pixels=read_image(image.path))))
                except BadInput as error:
                    leave_out(image, error)
            waiting.append(read)
            yield [named for _, named in read]

    try:
        write_description(out, finder.description)
        for found in finder.find(identities()):
            shown: list[tuple[Path, RegionMap]] = []
            for (image, named), region_map in zip(waiting.popleft(), found, strict=True):
                if isinstance(region_map, BadInput):
                    leave_out(image, region_map)
                    continue
                carrying += region_map.belongings
                shown.append((image.path, region_map))
                target = out / image.target.parent / f"{image.target.name}.png"
                write_description(target.parent, finder.description)
                write_whole(target, encode_png(region_map.labels))
                if panels:
                    picture = out / PANELS / image.target.parent / f"{image.target.name}.png"
                    write_whole(picture, encode_png(picture_of(named.pixels, region_map, fused=finder.fuses)))
                done += 1
            if watch and shown:
                watch(*zip(*shown, strict=True))
            report(done + len(left_out), len(images))
    except OSError as error:
        raise WorkError(f"cannot write to {out}: {error.strerror or error}") from error
    order = {str(image.path): place for place, image in enumerate(images)}
    left_out.sort(key=lambda one: order[one.image])
    return Labelled(images=len(images), with_belongings=carrying, left_out=tuple(left_out))
