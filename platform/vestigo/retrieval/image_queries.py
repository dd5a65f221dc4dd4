"""Make queries for bulk ranking from image files: a dataset's query split, or a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vestigo.datasets.recognise import load_dataset, recognise
from vestigo.ingest.crops import whole_image_id
from vestigo.ingest.embedding import embed_files
from vestigo.retrieval.bulk import BulkQueries
from vestigo_models.arrays import UInt8Array
from vestigo_models.errors import BadInput, UsageError
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import encode_jpeg, find_images, read_image, shrink
from vestigo_models.progress import ProgressCallback

THUMBNAIL_HEIGHT = 256


def image_queries(
    folder: Path, open_encoder: Callable[[], Extractor], progress: ProgressCallback
) -> tuple[BulkQueries, dict[str, int]]:
    """Make queries from the images in a folder.

    Of a dataset, the query split is taken. An image that was indexed as a whole crop is recognised by its name and
    content. Returns the queries, and reason -> number of unreadable images.

    Raises:
        UsageError: If the folder does not exist or has no image.
        DatasetError: If the dataset cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such file or folder")
    labels: list[tuple[int, str]] = []
    if recognise(folder) is not None:
        query = load_dataset(folder).query
        paths = list(query.paths)
        labels = [(int(pid), f"c{camid + 1}") for pid, camid in zip(query.pids, query.camids, strict=True)]
    else:
        paths = find_images(folder)
    if not paths:
        raise UsageError(f"{folder}: holds no image")
    names = [path.relative_to(folder).as_posix() for path in paths]
    sizes: dict[int, tuple[int, int]] = {}

    def measure(rows: Sequence[int], crops: Sequence[UInt8Array]) -> None:
        sizes.update((row, (crop.shape[0], crop.shape[1])) for row, crop in zip(rows, crops, strict=True))

    encoder = open_encoder()
    embedded = embed_files(paths, encoder, progress, measure)
    rows = embedded.rows.tolist()
    queries = BulkQueries(
        names=[names[row] for row in rows],
        features=embedded.features,
        own=[(whole_image_id(names[row], paths[row].read_bytes(), sizes[row]),) for row in rows],
        model=encoder.package.digest,
        kind="images",
        labels=[labels[row] for row in rows] if labels else [],
        thumbnail=lambda position: _thumbnail(paths[rows[position]]),
        source=folder.resolve().name,
    )
    return queries, embedded.unreadable


def _thumbnail(path: Path) -> bytes | None:
    try:
        return encode_jpeg(shrink(read_image(path), THUMBNAIL_HEIGHT))
    except BadInput:
        # The file was readable before; the ranking is saved without its thumbnail.
        return None
