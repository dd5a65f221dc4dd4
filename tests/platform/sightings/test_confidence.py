"""Confidence histograms of the browse index against loops over a scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tests.support.fake_pipeline import MODEL
from tests.support.review_archive import SCHEMA
from tests.support.sightings_archive import OTHER, add, chosen, random_files, sightings
from vestigo.sightings.grouping import LEVELS, count_confidences
from vestigo.sightings.index import BrowseIndex
from vestigo.sightings.records import ALL_SIGHTINGS, SightingFilter
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo_models.errors import ConfigError, StoreError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("sure") / "s") as opened:
        add(opened, random_files(3))
        add(opened, random_files(4, files=1), model=OTHER, fingerprint="e" * 64)
        opened.models.register("c" * 64, name="plain", location="nowhere", facts=ModelFacts(blocks=(4,)))
        yield opened


@pytest.fixture(scope="module")
def index(store: Store) -> Iterator[BrowseIndex]:
    with BrowseIndex.open(store) as opened:
        opened.refresh()
        yield opened


@pytest.mark.parametrize("cameras", [None, ("gate", "yard")])
@pytest.mark.parametrize("model", [MODEL, OTHER])
def test_histograms_count_crops_by_value_and_confidence(
    store: Store, index: BrowseIndex, model: str, cameras: Sequence[str] | None
) -> None:
    rows = [
        row
        for sighting in sightings(store, model)
        for row in sighting["rows"]
        if cameras is None or row["camera"] in cameras
    ]
    histograms = index.confidence_histograms(model, cameras)
    for attribute in SCHEMA.attributes:
        table = histograms[attribute.name]
        assert table.shape == (len(attribute.values), LEVELS)
        for number in range(len(attribute.values)):
            for level in (0, 40, 55, 80, 99):
                threshold = np.float32(level / 100)
                sure = 0
                for row in rows:
                    part = np.asarray(row["attributes"], np.float32)[SCHEMA.slice(attribute.name)]
                    sure += int(part.argmax()) == number and part.max() >= threshold
                assert table[number, level:].sum() == sure


def test_level_includes_its_lower_bound() -> None:
    steps = (np.arange(LEVELS) / 100).astype(np.float32)
    shares = np.zeros((LEVELS, 5), np.float32)
    shares[:, 0] = shares[:, 2] = steps
    (raw,) = count_confidences(shares, np.zeros(LEVELS, np.int64), 1, SCHEMA)
    counts = Counter(dict(np.frombuffer(raw, "<u4").reshape(-1, 2).tolist()))
    assert [counts[level] for level in range(LEVELS)] == [1] * LEVELS
    assert count_confidences(shares, np.zeros(LEVELS, np.int64), 2, None) == [b"", b""]


def test_histograms_without_attributes_or_crops_are_empty(index: BrowseIndex) -> None:
    assert index.confidence_histograms("c" * 64) == {}


@pytest.mark.parametrize(
    "choice", [ALL_SIGHTINGS, SightingFilter(where="hat=yes"), SightingFilter(cameras=("hall",), where="colour=red")]
)
def test_sightings_are_ordered_by_confidence(store: Store, index: BrowseIndex, choice: SightingFilter) -> None:
    wanted = chosen(sightings(store), choice)
    for name in SCHEMA.names:
        levels = {each["crop"]: float(np.float16(each["sure"][name])) for each in wanted}
        least = sorted(levels, key=lambda crop: (levels[crop], crop))
        most = sorted(levels, key=lambda crop: (-levels[crop], crop))
        for first, order in (("least", least), ("most", most)):
            pages = [
                index.by_confidence(MODEL, choice, name, first=first, offset=at, limit=9)  # type: ignore[arg-type]
                for at in range(0, len(wanted) + 1, 9)
            ]
            assert [each.crop for page in pages for each in page] == order
        shown = index.by_confidence(MODEL, choice, name, first="least", offset=0, limit=1)
        assert [index.find(each.crop, MODEL) for each in shown] == shown


def test_invalid_queries_are_rejected(index: BrowseIndex) -> None:
    nowhere = SightingFilter(cameras=("nowhere",))
    with pytest.raises(StoreError, match='Unknown camera "nowhere"'):
        index.by_confidence(MODEL, nowhere, "hat", first="most", offset=0, limit=5)
    with pytest.raises(StoreError, match='Unknown camera "nowhere"'):
        index.confidence_histograms(MODEL, ("nowhere",))
    with pytest.raises(ConfigError, match="unknown attribute 'shoes'"):
        index.by_confidence(MODEL, ALL_SIGHTINGS, "shoes", first="most", offset=0, limit=5)
