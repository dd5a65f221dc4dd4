"""The archive of rendered people with kept rankings: of crops, of tracklets, under two settings, old and new."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.old_rankings import make_old
from vestigo.retrieval.bulk import crop_queries, image_queries, rank_gallery, tracklet_queries
from vestigo.retrieval.gallery import Scope
from vestigo.store.open import Store
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_models.inference.package import ModelPackage

if TYPE_CHECKING:
    from tests.ui.conftest import Archive


def ranked_store(archive: Archive, folder: Path) -> Path:
    """Copy the archive's store into `folder` and rank there; returns the copy."""
    ref = archive.copy(folder / "store")
    strangers = folder / "strangers"
    strangers.mkdir()
    for number, row in enumerate(archive.crops[:3]):
        image = decode_image(row["image"])
        (strangers / f"stranger-{number}.jpg").write_bytes(encode_jpeg(image[: -4 - number]))
    with Store.open(ref) as store:
        ids = [row["crop_id"] for row in archive.crops]
        queries = crop_queries(store, ids)
        rank_gallery(store, queries, "everybody", top=20)
        rank_gallery(store, queries, "only-hall", top=20, scope=Scope(cameras=("hall",)))
        rank_gallery(store, queries, "shallow", top=2)
        (model,) = store.models.list()
        rank_gallery(store, tracklet_queries(store, model), "tracklets", top=10)
        rank_gallery(store, queries, "old", top=5)
        make_old(store, "old")
        extractor = Extractor(ModelPackage.from_pretrained("default"))
        pictures, _ = image_queries(strangers, lambda: extractor, lambda done, total: None)
        rank_gallery(store, pictures, "strangers", top=5)
    return ref
