"""Whether two folders hold the same benchmark: one digest over images, identities, cameras and labels."""

from __future__ import annotations

import hashlib

from vestigo.datasets.reid import ReidDataset
from vestigo_models.errors import DatasetError


def dataset_digest(dataset: ReidDataset) -> str:
    """SHA-256 over the three splits, in their order: file names, contents, and everything that is known of each image.

    Raises:
        DatasetError: an image cannot be read.
    """
    whole = hashlib.sha256(dataset.schema.digest.encode())
    for split in (dataset.train, dataset.query, dataset.gallery):
        whole.update(len(split).to_bytes(8, "big"))
        for path in split.paths:
            whole.update(f"{path.name}\0".encode())
            try:
                with path.open("rb") as file:
                    whole.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise DatasetError(f"{path} cannot be read ({error.strerror}); restore it") from None
        for array in (split.pids, split.camids, split.labels, split.yes):
            whole.update(array.tobytes())
    return whole.hexdigest()
