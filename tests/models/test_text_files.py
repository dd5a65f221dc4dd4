from __future__ import annotations

from pathlib import Path

import pytest

from vestigo_models.config_files import read_yaml
from vestigo_models.text_files import read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_mark_is_skipped(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("tür: hall\n", encoding=encoding)
    assert read_text(path) == "tür: hall\n"
    assert read_yaml(path, "file") == {"tür": "hall"}


def test_text_must_be_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"t\xfcr")
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "a.txt")
