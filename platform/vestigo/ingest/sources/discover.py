"""From what a user names as SOURCE to a stream of inputs, in an order that never changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from vestigo.ingest.inputs import Ignored, ImageInput, Item, Problem
from vestigo.ingest.sources.containers import tar_items, zip_items
from vestigo.ingest.sources.discover__files import file_item, folder_items
from vestigo.ingest.sources.naming import COMPRESSED_TARS, Naming, is_image, is_video
from vestigo_models.errors import SourceError

Kind = Literal["video", "image", "folder", "tar", "zip", "dataset"]

DATASET_SPLITS = ("bounding_box_test", "bounding_box_train", "query")
"""The splits of the Market-1501 and DukeMTMC-reID layouts; all three are indexed."""

_LABELLED = re.compile(r"^(?P<pid>-1|\d+)_c(?P<camid>\d+)")


def source_kind(source: str | Path) -> Kind:
    """Say what a source is.

    Raises:
        SourceError: it does not exist, or is of no known kind.
    """
    path = Path(source)
    name = path.name.lower()
    if not path.exists():
        raise SourceError(f"no such source: {source}; name a video, an image, a folder, a .tar or a .zip")
    if path.is_dir():
        return "dataset" if all((path / split).is_dir() for split in ("bounding_box_test", "query")) else "folder"
    if not path.is_file():
        raise SourceError(
            f"{source} is neither a file nor a folder; name a video, an image, a folder, a .tar or a .zip"
        )
    if name.endswith(COMPRESSED_TARS):
        raise SourceError(f"{source}: members of a compressed tar cannot be read in place; decompress it to a .tar")
    if name.endswith(".tar"):
        return "tar"
    if name.endswith(".zip"):
        return "zip"
    if is_video(name):
        return "video"
    if is_image(name):
        return "image"
    raise SourceError(f"{source}: unknown ending {path.suffix!r}; name a video, an image, a folder, a .tar or a .zip")


def discover(
    source: str | Path,
    *,
    camera: str | None = None,
    camera_pattern: str | None = None,
    start: datetime | None = None,
) -> Iterator[Item]:
    """Yield every input of a source, sorted by name (members of a tar in their own order), one at a time.

    Each input is read once, for the digest of its content. A file that cannot be used is a `Problem`, one that is
    none of ours `Ignored`; neither ends the walk. Memory holds the names of one folder, or of one archive's members.

    The camera is `camera=NAME/` in an input's path, else what the group `camera` of `camera_pattern` (a regular
    expression, searched in the name) finds, else `camera`, else the name of the video or archive without ending, or
    of the folder that is the source. `start` is the time of a video's first frame.

    Raises:
        SourceError: as `source_kind`.
        ConfigError: a wrong `camera_pattern`.
    """
    kind = source_kind(source)
    return _found(Path(source).resolve(), kind, Naming.of(camera, camera_pattern, start))


def _found(root: Path, kind: Kind, naming: Naming) -> Iterator[Item]:
    empty = True
    for item in _contents(root, kind, naming):
        nothing = isinstance(item, Ignored) or (isinstance(item, Problem) and item.reason == "empty-folder")
        empty = empty and nothing
        yield item
    if empty:
        yield Problem(root.name, "empty-source", f"{root.name} holds no image and no video; name a source that does")


def _contents(root: Path, kind: Kind, naming: Naming) -> Iterator[Item]:
    if kind == "folder":
        return folder_items(root, root, naming)
    if kind == "tar":
        return tar_items(root, naming)
    if kind == "zip":
        return zip_items(root, naming)
    if kind == "dataset":
        return _dataset_items(root, naming)
    return iter([file_item(root, root.name, root.stem, naming)])


def _dataset_items(root: Path, naming: Naming) -> Iterator[Item]:
    """Images of the splits; `0002_c1s1_000451_03.jpg` is pid 2 under camera c1, -1 (junk) is nobody."""
    for split in DATASET_SPLITS:
        for item in folder_items(root / split, root, naming) if (root / split).is_dir() else ():
            label = _LABELLED.match(Path(item.name).name)
            if isinstance(item, ImageInput) and label is not None:
                pid = int(label["pid"])
                yield ImageInput(
                    name=item.name,
                    digest=item.digest,
                    locator=item.locator,
                    camera=f"c{int(label['camid'])}",
                    pid=None if pid < 0 else pid,
                )
            else:
                yield item
