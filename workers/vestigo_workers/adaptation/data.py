"""Crops that a model adapts to, and what a store knows of its people to judge it by.

Adaptation reads images, tracklets and cameras. Identities and labels only judge the result.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vestigo.datasets.reid import ReidDataset
from vestigo.promotion.splits import SplitCrop, build_test_set, crop_images, identity_key
from vestigo.review.labels.sets import current_labels
from vestigo.review.labels.training_examples import read_training_examples
from vestigo.store.open import Store
from vestigo_models.adaptation.data import AdaptationSet
from vestigo_models.private_files import create_private
from vestigo_models.progress import ProgressCallback
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_workers.retraining.data import MAX_TEST_CROPS


@dataclass(frozen=True, kw_only=True)
class CollectedCrops:
    """Crops to adapt to, written as files, and the SHA-256 of their contents, tracklets and cameras."""

    data: AdaptationSet
    digest: str


def collect_crops(store: Store, model: str, limit: int, folder: Path, progress: ProgressCallback) -> CollectedCrops:
    """Write at most about `limit` crops of a model into `folder`, with all crops of a tracklet or none.

    A hash of the contents selects and orders them: neither depends on names, which datasets derive from identities.

    Raises:
        UsageError: There are too few crops, or all are of one camera.
    """
    groups: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for batch in store.crops.scan(("crop_id", "tracklet", "camera", "dhash"), model=model):
        for row in batch.to_pylist():
            groups[row["tracklet"] or row["crop_id"]].append((row["crop_id"], row["camera"], row["dhash"]))
    selected: list[list[tuple[str, str, int]]] = []
    count = 0
    for group in sorted(groups.values(), key=_group_hash):
        if count and count + len(group) > limit:
            break
        selected.append(group)
        count += len(group)
    facts = {crop: (number, camera) for number, group in enumerate(selected) for crop, camera, _ in group}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    rows: list[tuple[str, str, int, Path]] = []
    for done, (crop, image) in enumerate(crop_images(store, list(facts)), start=1):
        content = hashlib.sha256(image).hexdigest()
        number, camera = facts[crop]
        path = folder / f"{crop}.jpg"
        with create_private(path) as file:
            file.write(image)
        rows.append((content, camera, number, path))
        progress(done, count)
    rows.sort(key=lambda row: row[:2])
    contents, cameras, numbers, paths = zip(*rows, strict=True) if rows else ((), (), (), ())
    first: dict[int, int] = {}
    tracklets = [first.setdefault(number, len(first)) for number in numbers]
    data = AdaptationSet(
        paths=paths,
        tracklets=np.array(tracklets, dtype=np.int64),
        cameras=np.unique(cameras, return_inverse=True)[1].reshape(-1).astype(np.int64),
    )
    facts_digest = hashlib.sha256(repr(list(zip(contents, tracklets, cameras, strict=True))).encode())
    return CollectedCrops(data=data, digest=facts_digest.hexdigest())


def _group_hash(group: list[tuple[str, str, int]]) -> str:
    return hashlib.sha256(repr(sorted(dhash for _, _, dhash in group)).encode()).hexdigest()


def own_test_set(store: Store, model: str, schema: AttributeSchema | None, folder: Path) -> ReidDataset | None:
    """Return the people of a store whose identity or attributes are known as a test dataset; None without any.

    Retrieval is tested on those that a dataset names, attributes on agreed labels. There are at most `MAX_TEST_CROPS`.
    """
    if schema is None:
        return None
    projects = [project.name for project in store.review.projects() if project.schema == schema]
    examples = read_training_examples(current_labels(store, projects), schema, 0.0)
    crops = {
        crop: SplitCrop(crop=crop, identity=example.identity, camera=example.camera, labels=example.labels)
        for example in examples
        for crop in example.crops
    }
    people: dict[str, list[SplitCrop]] = defaultdict(list)
    unknown = np.full(len(schema), -1, dtype=np.int64)
    for batch in store.crops.scan(("crop_id", "pid", "tracklet", "camera"), model=model):
        for row in batch.to_pylist():
            if (row["pid"] or 0) > 0 and row["crop_id"] not in crops:
                key = identity_key(pid=row["pid"], tracklet=row["tracklet"], crop=row["crop_id"])
                crop = SplitCrop(crop=row["crop_id"], identity=key, camera=row["camera"], labels=unknown)
                people[key].append(crop)
    for key in sorted(people, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(crops) + len(people[key]) > MAX_TEST_CROPS:
            break
        crops |= {crop.crop: crop for crop in people[key]}
    return build_test_set(store, list(crops.values()), schema, folder) if crops else None
