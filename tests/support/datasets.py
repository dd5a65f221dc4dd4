"""Small datasets in the public layouts, written by the tests that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from vestigo.datasets.synthetic import write_rendered
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import DUKEMTMC_REID, MARKET_1501

DatasetWriter = Callable[..., Path]


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of 12 rendered identities in two cameras, for tests that only read it."""
    root = tmp_path_factory.mktemp("data") / "people"
    write_rendered(root, "small", 12, 2, 3, seed=4, processes=1)
    return root


@pytest.fixture
def write_dataset(tmp_path: Path) -> DatasetWriter:
    """Write a small dataset in a public layout; returns its folder.

    Each split is a list of (pid, camera counted from 1). An image is a flat colour that only its identity decides.
    """

    def write(
        *,
        train: Iterable[tuple[int, int]] = ((2, 1), (2, 2), (7, 1), (7, 3)),
        query: Iterable[tuple[int, int]] = ((1, 1), (3, 2)),
        gallery: Iterable[tuple[int, int]] = ((-1, 1), (0, 2), (1, 1), (1, 2), (3, 1), (3, 2), (3, 3)),
        duke: bool = False,
        columns: Mapping[str, Mapping[str, list[int]]] | None = None,
        name: str = "dataset",
    ) -> Path:
        root = tmp_path / name
        test_pids: set[int] = set()
        for folder, members in (("bounding_box_train", train), ("query", query), ("bounding_box_test", gallery)):
            (root / folder).mkdir(parents=True)
            for frame, (pid, camera) in enumerate(members):
                stem = f"{pid:04d}" if pid >= 0 else "-1"
                end = f"c{camera}_f{frame:07d}" if duke else f"c{camera}s1_{frame:06d}_00"
                image = np.full((32, 16, 3), np.random.default_rng(pid + 1).integers(0, 255, 3), dtype=np.uint8)
                cv2.imwrite(str(root / folder / f"{stem}_{end}.jpg"), image)
                if folder != "bounding_box_train" and pid > 0:
                    test_pids.add(pid)
        if columns is not None:
            schema, variable = (DUKEMTMC_REID, "duke_attribute") if duke else (MARKET_1501, "market_attribute")
            identities = {"train": sorted({pid for pid, _ in train}), "test": sorted(test_pids)}
            content = {split: mat_struct(schema, pids, columns.get(split, {})) for split, pids in identities.items()}
            scipy.io.savemat(root / f"{variable}.mat", {variable: content})
        return root

    return write


def mat_struct(schema: AttributeSchema, pids: list[int], columns: Mapping[str, list[int]]) -> dict[str, np.ndarray]:
    """One split of an annotation file; a column that is not given holds 1 (the first value, or "no")."""
    fields = [field for attribute in schema.attributes for field in attribute.fields]
    struct = {field: np.array([columns.get(field, [1] * len(pids))], dtype=np.uint8) for field in fields}
    index = np.empty((1, len(pids)), dtype=object)
    index[0] = [f"{pid:04d}" for pid in pids]
    return {**struct, "image_index": index}
