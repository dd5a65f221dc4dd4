from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support import hostile
from vestigo_models.errors import BadInput, ConfigError, DatasetError
from vestigo_models.inference import images
from vestigo_models.parsing import label_folder
from vestigo_models.training.config import TrainConfig
from vestigo_models.training.data import ImageReader, identity_batches

# 40 identities with 1 to 12 images each, shuffled.
PIDS = np.random.default_rng(3).permutation(np.repeat(np.arange(40), np.arange(40) % 12 + 1)).astype(np.int64)


def plan(seed: int = 0, epoch: int = 1) -> np.ndarray:
    return identity_batches(PIDS, TrainConfig(seed=seed), epoch)


def test_batch_has_16_identities_with_4_images() -> None:
    batches = plan()
    assert batches.shape[1] == 64
    for batch in batches:
        groups = PIDS[batch].reshape(16, 4)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0])) == 16


def test_image_repeats_only_if_its_identity_has_too_few() -> None:
    used, counts = np.unique(plan(), return_counts=True)
    for index, count in zip(used, counts, strict=True):
        if (PIDS[index] == PIDS).sum() >= 4:
            assert count == 1


def test_few_groups_are_dropped() -> None:
    drawn = np.bincount(PIDS[plan().reshape(-1)], minlength=40) // 4
    offered = np.maximum(np.bincount(PIDS, minlength=40) // 4, 1)
    assert ((offered - drawn) > 0).sum() < 16


def test_batches_depend_on_seed_and_epoch() -> None:
    np.testing.assert_array_equal(plan(), plan())
    assert not np.array_equal(plan(epoch=1)[:1], plan(epoch=2)[:1])
    assert not np.array_equal(plan(seed=0)[:1], plan(seed=1)[:1])


def test_too_few_identities_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch_identities=16: the training set has only 2 identities"):
        identity_batches(np.array([0, 0, 1, 1]), TrainConfig(), 1)


def test_image_that_crashes_its_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0001_c1.png"
    cv2.imwrite(str(path), np.zeros((8, 4), dtype=np.uint8))
    reader = ImageReader((path,), (16, 8), 1.0)
    monkeypatch.setattr(images, "_read", hostile.crash)
    with pytest.raises(DatasetError, match=r"training image .*0001_c1\.png crashed its decoder \(SIGSEGV\)"):
        reader.read(0)
    monkeypatch.setattr(label_folder, "_read", hostile.crash)
    with pytest.raises(BadInput, match=r"0001_c1\.png crashed its decoder"):
        label_folder.read_labels(path)
