from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vestigo_models.private_files import create_private


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_file_is_for_its_owner_only_also_where_one_was_public(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    for text in ("first", "second"):
        with create_private(path, "w") as file:
            file.write(text)
        assert (path.read_text(), path.stat().st_mode & 0o777) == (text, 0o600)
        path.chmod(0o644)
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_keeps_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "crop.jpg"
    path.write_bytes(b"before")

    def fail() -> None:
        with create_private(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_link_and_device_are_not_replaced(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    for path in (link, Path(os.devnull)):
        with create_private(path) as file:
            file.write(b"x")
    assert link.is_symlink()
    assert target.read_bytes() == b"x"
    assert Path(os.devnull).is_char_device()
