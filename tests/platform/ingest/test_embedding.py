"""Features of image files: unreadable ones are counted by reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import hostile
from tests.support.archives import write_crops
from tests.support.random_models import random_package
from vestigo.ingest import embedding
from vestigo.ingest.embedding import embed_files
from vestigo_models.inference.extractor import Extractor


def test_images_that_crash_their_decoder_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(write_crops(tmp_path / "crops", 2).iterdir())
    monkeypatch.setattr(embedding, "_read", hostile.crash)
    result = embed_files(paths, Extractor(random_package()))
    assert (result.unreadable, len(result.rows)) == ({"decoder-crashed": 2}, 0)
