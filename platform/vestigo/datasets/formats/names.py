"""Identity and camera in the file names of benchmark datasets."""

import re
from pathlib import PurePosixPath
from typing import NamedTuple

_BOX = re.compile(r"(?P<pid>-1|\d+)_c(?P<camera>\d+)(?!\d)")
_MSMT17 = re.compile(r"(?P<pid>\d+)_\d+_(?P<camera>\d+)_\d+(?:morning|noon|afternoon)_")


class ImageLabel(NamedTuple):
    """Identity and camera of an image, as its file name numbers them; identity -1 is junk."""

    pid: int
    camera: int


TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
"""Folders of the splits of Market-1501 and of what is converted into its layout."""


def parse_member(path: str) -> ImageLabel | None:
    """Return identity and camera of a member of an archive, None unless its folder is a split of a dataset."""
    member = PurePosixPath(path)
    return parse_name(member.name) if member.parent.name in (TRAIN, QUERY, GALLERY) else None


def parse_name(name: str) -> ImageLabel | None:
    """Return identity and camera of a dataset's image, None if its name has another form.

    Market-1501 (`0002_c1s1_000451_03.jpg`), DukeMTMC-reID (`0001_c2_f0046182.jpg`), CUHK03-NP (`0001_c1_1_01.png`),
    MSMT17 (`0000_000_01_0303morning_0015_0.jpg`), and whatever converters write behind `0001_c12`.

    Args:
        name: Name of the file without its folder.
    """
    match = _BOX.match(name) or _MSMT17.match(name)
    return None if match is None else ImageLabel(int(match["pid"]), int(match["camera"]))
