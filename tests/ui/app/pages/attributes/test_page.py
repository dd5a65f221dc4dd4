"""Page Attributes: estimates, crops and address."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.app_pages import frame, run_app, widget, words
from tests.support.fake_pipeline import MODEL, crop
from tests.support.review_archive import PER_TRACKLET, SCHEMA
from tests.support.reviewed_store import DRAWN, PEOPLE, SCORES, reviewed_store
from tests.support.sightings_archive import add
from vestigo.resolve import find_registered
from vestigo.review.estimates.confusion import ConfusionCell, cell_rows, estimate_confusion
from vestigo.review.estimates.precision import estimate_precision
from vestigo.review.estimates.review_sample import ReviewSample, read_review_sample
from vestigo.review.estimates.threshold_curve import STEPS, threshold_curve
from vestigo.sightings.index import BrowseIndex
from vestigo.sightings.records import ALL_SIGHTINGS
from vestigo.store.models.records import ModelFacts
from vestigo.store.open import Store
from vestigo_models.inference.images import encode_jpeg
from vestigo_ui.app.components import freshness
from vestigo_ui.app.pages.attributes.detail import (
    Coverage,
    cell_text,
    confusion_table,
    curve_figure,
    curve_table,
    heat_map,
)
from vestigo_ui.app.pages.attributes.overview import dataset_accuracies, overview_figure, overview_table
from vestigo_ui.app.pages.attributes.selection import cell_classes

pytestmark = pytest.mark.slow

ALL, CURVE, CONFUSION, SPLIT, SIGHTINGS = range(5)
"""Tables of the page, in order."""


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reviewed_store(tmp_path_factory.mktemp("reviewed") / "store")


@pytest.fixture(scope="module")
def sample(reviewed: Path) -> ReviewSample:
    with Store.open(reviewed) as store:
        return read_review_sample(store, find_registered(store, MODEL))


def viewed(store: Path) -> list[dict[str, object]]:
    """Return the details of audit entries about views, the newest first."""
    with Store.open(store) as opened:
        return [dict(entry.details) for entry in opened.audit.entries(newest=True, action="view")]


def test_accuracies_equal_those_of_command(
    monkeypatch: pytest.MonkeyPatch, reviewed: Path, sample: ReviewSample
) -> None:
    app = run_app(monkeypatch, reviewed, page="attributes", sure="0.7", attribute="colour", value="red")
    report = estimate_precision(sample.reviewed, confidence=0.7)
    table = frame(app, ALL).set_index("Attribute")
    for attribute in SCHEMA.attributes:
        accuracy = report.attributes[attribute.name].accuracy
        assert accuracy is not None
        row = table.loc[attribute.title]
        assert row["Accuracy (%)"] == pytest.approx(100 * accuracy.value)
        assert (row["From (%)"], row["To (%)"]) == pytest.approx((100 * accuracy.low, 100 * accuracy.high))
        assert (row["Tasks"], row["Cannot tell"]) == (accuracy.reviewed, attribute.name == "hat")
        official, labelled = (row[f"Market-1501, {kind} (%)"] for kind in ("official", "labelled only"))
        assert labelled == SCORES["attributes_labelled_only"][attribute.name]  # type: ignore[index]
        assert pd.isna(official) if attribute.name == "colour" else official == 91.5
    cameras = frame(app, SPLIT).set_index("Camera")
    for camera, parts in report.cameras.items():
        precision = parts["colour"].values["red"].precision
        assert precision is not None
        assert cameras.loc[camera, "Precision (%)"] == pytest.approx(100 * precision.value)
    text = words(app)
    assert f"{DRAWN} tasks with {DRAWN * PER_TRACKLET} crops are annotated" in text
    assert "omitted: predictions with a confidence below 70%" in text
    assert "Precision of red: " in text


def test_coverage_counts_all_crops(monkeypatch: pytest.MonkeyPatch, reviewed: Path) -> None:
    app = run_app(monkeypatch, reviewed, page="attributes", attribute="hat", value="yes")
    with Store.open(reviewed) as store:
        rows = [row["attributes"] for batch in store.crops.scan(["attributes"]) for row in batch.to_pylist()]
    hats = [np.float32(row[1]) for row in rows if row[1] > row[0]]
    curve = frame(app, CURVE)
    assert curve["Crops"].tolist() == [sum(hat >= np.float32(step) for hat in hats) for step in STEPS]
    assert curve["Coverage (%)"].tolist() == pytest.approx([100 * n / len(hats) for n in curve["Crops"]])
    app.slider(key="attributes-sure").set_value(80).run()
    assert app.query_params["sure"] == "0.8"
    assert f"{curve['Crops'][80]} of {len(hats)} crops predicted as yes have a confidence of at least 80 %" in words(
        app
    )
    app.slider(key="attributes-sure").set_value(0).run()
    assert "sure" not in app.query_params


def test_cell_shows_its_crops(monkeypatch: pytest.MonkeyPatch, reviewed: Path, sample: ReviewSample) -> None:
    wrong = sample.crops[cell_rows(sample.reviewed, "hat", 0, 1)]
    app = run_app(monkeypatch, reviewed, page="attributes", attribute="hat", cell="no~yes", crop=str(wrong[0]))
    text = words(app)
    assert "Predicted no, label yes" in text
    assert f"{len(wrong)} crops of" in text
    seen = viewed(reviewed)
    assert seen[0] == {"crop": wrong[0]}
    crops = seen[1]["shown"]
    assert isinstance(crops, list)
    assert sorted(crops) == sorted(wrong)
    sure = dict(zip(sample.crops.tolist(), sample.reviewed.confidence[:, 0].tolist(), strict=True))
    assert [sure[crop] for crop in crops] == sorted((sure[crop] for crop in crops), reverse=True)
    task = sample.tasks[int(sample.reviewed.task[sample.crops.tolist().index(wrong[0])])]
    urls = [button.proto.url for button in app.get("link_button")]
    assert f"/find?crop={wrong[0]}" in urls
    assert f"http://studio.example/projects/7/data?task={task.remote_id}" in urls
    next(button for button in app.button if button.label == "Show the archive instead").click().run()
    assert "cell" not in app.query_params
    assert "In the archive" in words(app)


def test_other_selection_restarts_sheet(monkeypatch: pytest.MonkeyPatch, reviewed: Path) -> None:
    app = run_app(monkeypatch, reviewed, page="attributes", attribute="hat", cell="no~yes", value="yes")
    widget(app, "selectbox", "Attribute").select("colour").run()
    assert app.query_params == {"attribute": "colour"}
    widget(app, "selectbox", "Camera").select("c2").run()
    assert app.query_params["camera"] == "c2"
    assert frame(app, SPLIT)["Camera"].tolist() == ["c2"]
    widget(app, "segmented_control", "By").set_value("day").run()
    assert frame(app, SPLIT)["Day"].tolist() == ["2026-05-01"]


def test_archive_is_sorted_by_confidence(monkeypatch: pytest.MonkeyPatch, reviewed: Path) -> None:
    app = run_app(monkeypatch, reviewed, page="attributes", attribute="colour", value="blue", first="most")
    with Store.open(reviewed) as store, BrowseIndex.open(store) as index:
        every = index.page(MODEL, ALL_SIGHTINGS, offset=0, limit=1000)
    blue = [sighting for sighting in every if sighting.attributes["colour"] == "blue"]
    assert f"{len(blue)} sightings predicted as blue" in words(app)
    seen = viewed(reviewed)[0]["shown"]
    assert isinstance(seen, list)
    sure = {sighting.crop: sighting.confidences["colour"] for sighting in blue}
    assert sorted(seen) == sorted(sure)
    assert [sure[crop] for crop in seen] == sorted(sure.values(), reverse=True)
    assert frame(app, SIGHTINGS)["Sightings"].sum() == PEOPLE


def test_invalid_address_is_reported(monkeypatch: pytest.MonkeyPatch, reviewed: Path) -> None:
    invalid = {
        "model": "none",
        "camera": "roof",
        "attribute": "shoes",
        "value": "9",
        "sure": "often",
        "cell": "a~b",
        "crop": "gone",
        "by": "year",
        "first": "middle",
    }
    app = run_app(monkeypatch, reviewed, page="attributes", **invalid)  # type: ignore[arg-type]
    assert not app.exception
    assert not app.error
    assert widget(app, "selectbox", "Attribute").value == "hat"
    assert "In the archive" in words(app)
    for name in ("camera", "attribute", "value", "sure", "cell", "crop"):
        assert f'"{invalid[name]}"' in words(app)


def test_archive_is_shown_without_annotations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = reviewed_store(tmp_path / "s", draw=False)
    app = run_app(monkeypatch, store, page="attributes", role="viewer", cell="no~yes")
    text = words(app)
    assert "No sampled task is annotated yet: `vestigo label push`" in text
    assert f"{PEOPLE} sightings" in text
    assert f"all {PEOPLE * PER_TRACKLET} crops." in text
    assert frame(app, ALL)["Tasks"].tolist() == [0, 0]


def test_attribute_without_annotations_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = reviewed_store(tmp_path / "s", hats_only=True)
    app = run_app(monkeypatch, store, page="attributes", attribute="colour")
    text = words(app)
    assert "No annotations of Colour. `vestigo label push --store STORE --project PROJECT --about colour`" in text
    assert "No annotated prediction has this confidence" in text


def test_new_annotation_is_counted_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = reviewed_store(tmp_path / "s")
    app = run_app(monkeypatch, store, page="attributes")
    assert f"{DRAWN} tasks" in words(app)
    with Store.open(store) as opened:
        first = next(opened.review.tasks("p"))[0]
        opened.annotations.replace("p", {first.key: []})
    app.run()
    assert f"{DRAWN - 1} tasks" in words(app)


def test_new_crops_are_counted_when_indexed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = reviewed_store(tmp_path / "s", draw=False)
    monkeypatch.setattr(freshness, "MAX_FOREGROUND", -1)
    monkeypatch.setattr(freshness.IndexRefresher, "start", lambda refresher: None)
    app = run_app(monkeypatch, store, page="attributes")
    another = crop("another", attributes=[0.9, 0.1, 0.8, 0.1, 0.1], image=encode_jpeg(np.zeros((128, 64, 3), np.uint8)))
    with Store.open(store) as opened:
        add(opened, [[another]], fingerprint="e" * 64)
    assert f"{PEOPLE} sightings" in words(app.run())
    with Store.open(store) as opened, BrowseIndex.open(opened) as index:
        index.refresh()
    text = words(app.run())
    assert f"{PEOPLE + 1} sightings" in text
    assert f"all {PEOPLE * PER_TRACKLET + 1} crops." in text


def test_store_without_crops_or_attributes_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty"):
        pass
    assert "The store has no crops yet" in words(run_app(monkeypatch, tmp_path / "empty", page="attributes"))
    plain = reviewed_store(tmp_path / "plain", draw=False)
    with Store.open(plain) as store:
        store.models.register(MODEL, name="plain", location="nowhere", facts=ModelFacts(blocks=(4,)))
    assert "predicts no attributes" in words(run_app(monkeypatch, plain, page="attributes"))


def test_figures_equal_tables(reviewed: Path, sample: ReviewSample) -> None:
    with Store.open(reviewed) as store:
        model = find_registered(store, MODEL)
    datasets = dataset_accuracies(model)
    estimates = estimate_precision(sample.reviewed).attributes
    overview = overview_figure(SCHEMA, estimates, datasets)
    assert [trace.name for trace in overview.data] == [
        "Archive, 95 %",
        "Market-1501, official",
        "Market-1501, labelled only",
    ]
    assert list(overview.data[0].x) == pytest.approx(overview_table(SCHEMA, estimates, {})["Accuracy (%)"].tolist())
    points = threshold_curve(sample.reviewed, "hat")
    coverage = Coverage(counts=np.arange(100, -1, -1), crops=100)
    figure = curve_figure(points, coverage, 60, "Accuracy")
    table = curve_table(points, coverage)
    known = table[table["Precision (%)"].notna() & (table["Crops"] > 0)]
    assert list(figure.data[2].x) == pytest.approx(known["Coverage (%)"].tolist())
    assert list(figure.data[2].y) == pytest.approx(known["Precision (%)"].tolist())
    assert list(figure.data[3].x) == [40.0]
    assert Coverage(counts=np.zeros(101, np.int64), crops=0).share(3) == 0


def test_every_cell_has_mark(sample: ReviewSample) -> None:
    confusion = estimate_confusion(sample.reviewed, "colour")
    marks = heat_map(confusion, "red~green").data[1]
    codes = [code for (code,) in marks.customdata]
    assert codes == list(cell_classes(SCHEMA["colour"]))
    assert [code for code, opacity in zip(codes, marks.marker.opacity, strict=True) if opacity] == ["red~green"]
    table = confusion_table(confusion)
    assert [f"{row.Predicted}~{row.Label}" for row in table.itertuples()] == codes
    assert cell_text(ConfusionCell(share=None, tasks=0, crops=0), 3) == ""
