"""Features of image files: unreadable ones are counted by reason."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import hostile
from tests.support.archives import write_crops
from tests.support.random_models import random_package
from vestigo.ingest import embedding
from vestigo.ingest.embedding import FileFeatures, embed_files
from vestigo_models.inference.distance import Descriptors
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.features import CropFeatures


def test_images_that_crash_their_decoder_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(write_crops(tmp_path / "crops", 2).iterdir())
    monkeypatch.setattr(embedding, "_read", hostile.crash)
    result = embed_files(paths, Extractor(random_package()))
    assert (result.unreadable, len(result.rows)) == ({"decoder-crashed": 2}, 0)


def same_features(one: FileFeatures, other: FileFeatures) -> bool:
    """Return whether two features are equal bit for bit."""
    return (
        all(
            np.array_equal(read(one), read(other)) and read(one).dtype == read(other).dtype
            for read in (
                lambda f: f.rows, lambda f: f.ids, lambda f: f.sizes, lambda f: f.features.descriptors.vectors,
                lambda f: f.features.descriptors.visible, lambda f: f.features.probabilities,
                lambda f: f.features.areas, lambda f: np.array(f.region_cells),
            )
        )
        and list(one.skipped.items()) == list(other.skipped.items())
        and list(one.unreadable.items()) == list(other.unreadable.items())
    )  # fmt: skip


def fake_features(states: list[str | None], first: int = 0) -> FileFeatures:
    """Return features of files at positions from `first` on, each with its own numbers; a reason skips the file."""
    rows = np.array([row for row, reason in enumerate(states) if reason is None], dtype=np.int64)
    places = rows + first
    numbers = places.astype(np.float32)[:, None]
    return FileFeatures(
        rows=rows,
        features=CropFeatures(
            descriptors=Descriptors(vectors=np.repeat(numbers, 2, axis=1), visible=numbers > 3, always=1),
            probabilities=numbers / 3,
            areas=numbers / 7,
        ),
        ids=places,
        sizes=np.stack([places, places + 1], axis=1),
        skipped={row: reason for row, reason in enumerate(states) if reason is not None},
        region_cells=np.full((2, 2), len(rows), dtype=np.int64),
    )


@given(
    states=st.lists(st.sampled_from([None, "unreadable", "not-finite", "empty-file"]), max_size=30),
    cuts=st.sets(st.integers(0, 30)),
    seed=st.integers(),
)
def test_joined_parts_do_not_depend_on_cuts_and_order(states: list[str | None], cuts: set[int], seed: int) -> None:
    starts = sorted({0, *(cut for cut in cuts if cut < len(states))})
    ends = [*starts[1:], len(states)]
    parts = [(first, fake_features(states[first:end], first)) for first, end in zip(starts, ends, strict=True)]
    random.Random(seed).shuffle(parts)
    assert same_features(FileFeatures.joined(dict(parts)), fake_features(states))


@given(lost=st.sets(st.integers(0, 9)), seed=st.integers())
def test_lost_files_are_counted_at_their_place(lost: set[int], seed: int) -> None:
    states = ["worker-died" if row in lost else "empty-file" if row == 4 else None for row in range(10)]
    parts = [(row, fake_features([state], row)) for row, state in enumerate(states) if row not in lost]
    random.Random(seed).shuffle(parts)
    if parts:
        joined = FileFeatures.joined(dict(parts), dict.fromkeys(sorted(lost, reverse=True), "worker-died"))
        assert same_features(joined, fake_features(states))


def test_features_of_file_do_not_depend_on_other_files(tmp_path: Path) -> None:
    paths = sorted(write_crops(tmp_path / "crops", 9).iterdir())
    paths[4].write_text("a text")
    extractor = Extractor(random_package())
    whole = embed_files(paths, extractor)
    assert list(whole.skipped) == [4]
    for size in (1, 2, 5):
        parts = {first: embed_files(paths[first : first + size], extractor) for first in range(0, 9, size)}
        assert same_features(FileFeatures.joined(dict(reversed(parts.items()))), whole)
    assert same_features(whole.copy(), whole)
