"""What the page of an evaluation shows, and by which rule."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.random_models import random_package
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.datasets.synthetic import write_rendered
from vestigo.evaluation.compare import compare
from vestigo.evaluation.evaluate import Evaluation, evaluate_model
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo.reports.attributes import attribute_cards, reliability
from vestigo.reports.charts import Axis, Chart, Point, percent_axis
from vestigo.reports.evaluation import ComparedModel, evaluation_page
from vestigo.reports.filter_chart import filter_chart
from vestigo.reports.ranking_strips import groups
from vestigo.reports.region_pictures import region_pictures, select_identities
from vestigo_models.attribute_filter.modes import FilterChoice
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import fls_labels
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.parsing.region_merge import label_cells
from vestigo_models.parsing.registry import make_parser
from vestigo_models.schemas.builtin import MARKET_1501

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ReidDataset:
    root = tmp_path_factory.mktemp("people") / "rendered"
    write_rendered(root, "small", 24, 2, 3, seed=4, processes=1)
    return load_dataset(root)


@pytest.fixture(scope="module")
def judged(dataset: ReidDataset) -> Evaluation:
    options = EvaluationOptions(filter=FilterChoice(mode="fixed", threshold=0.2))
    return evaluate_model(dataset, Extractor(random_package()), options)


def test_identities_are_chosen_by_what_they_carry(dataset: ReidDataset) -> None:
    split = dataset.gallery
    carried = {}
    for pid in sorted(set(split.pids.tolist()) - {0}):
        labels = split.labels[split.pids.tolist().index(pid)]
        carried[pid] = [name for name in ("backpack", "bag", "handbag") if labels[MARKET_1501.index(name)] == 1]
    kinds = {name: [p for p in carried if name in carried[p]] for name in ("backpack", "bag", "handbag")}
    kinds["nothing"] = [p for p in carried if not carried[p]]
    expected: list[int] = []
    while len(expected) < 7:
        for people in kinds.values():
            rest = [pid for pid in people if pid not in expected]
            expected += rest[: 1 if len(expected) < 7 else 0]
    found = select_identities(dataset, 7)
    assert [int(split.pids[rows[0]]) for _, rows in found] == sorted(expected)
    for title, rows in found:
        pid = int(split.pids[rows[0]])
        assert title == f"person {pid} · {', '.join(carried[pid]) or 'carries nothing'}"
        assert rows.tolist() == [row for row, other in enumerate(split.pids.tolist()) if other == pid]
    assert len(select_identities(dataset, 100)) == 12


def test_pictures_are_those_of_parser_clusters_fusion_network_and_truth(dataset: ReidDataset) -> None:
    extractor, parser = Extractor(random_package()), make_parser("default")
    pictures = region_pictures(dataset, extractor, parser, shown=3)
    assert len(pictures) == 3
    for picture in pictures:
        layers = {caption: labels for caption, labels, _ in picture.layers}
        assert list(layers) == ["parser", "clustering", "FLS", "network", "truth"]
        found = extractor.regions([picture.image])[0].argmax(axis=2)
        assert np.array_equal(layers["network"], found)
        assert layers["truth"].shape == layers["parser"].shape == picture.image.shape[:2]
        pid = int(re.match(r"person (\d+)", picture.title)[1])  # type: ignore[index]
        images = [read_image(dataset.gallery.paths[row]) for row in np.flatnonzero(dataset.gallery.pids == pid)]
        (place,) = [n for n, image in enumerate(images) if np.array_equal(image, picture.image)]
        coarse = [label_cells(parser.parse(image, "a.jpg").regions, extractor.package.grid) for image in images]
        fused = fls_labels(extractor.feature_maps(images)[0], np.stack(coarse), FlsConfig())
        assert np.array_equal(layers["FLS"], fused[place])
    plain = Extractor(random_package(schema=None, regions=None))
    with pytest.raises(ValueError, match="no feature map"):
        region_pictures(dataset, plain, parser, shown=1)


def test_cards_say_what_was_right(judged: Evaluation) -> None:
    attributes = judged.attributes
    assert attributes is not None
    cards = attribute_cards(attributes, judged.gallery_paths, judged.gallery.pids.tolist())
    assert len(cards) == 12
    assert (cards[0]["pid"], cards[-1]["pid"]) == tuple(judged.gallery.pids[attributes.images[[0, -1]]])
    for line, column in zip(cards[-1]["lines"], range(12), strict=True):
        label = attributes.labels[-1, column]
        values = MARKET_1501.attributes[column].values
        expected = "unknown" if label < 0 else "right" if line["predicted"] in (values[label],) else "wrong"
        assert line["mark"] == expected
        assert line["truth"] == ("not annotated" if label < 0 else values[label])
        assert line["confidence"] == pytest.approx(100 * attributes.confidences[-1, column])


def test_reliability_counts_predictions_by_confidence(judged: Evaluation) -> None:
    attributes = judged.attributes
    assert attributes is not None
    chart = reliability(attributes)
    assert chart is not None
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, column in np.argwhere(attributes.labels >= 0):
        sure = float(attributes.confidences[row, column])
        bins.setdefault(min(9, int(np.ceil(np.float32(sure) * 10)) - 1), []).append(
            (sure, bool(attributes.correct[row, column]))
        )
    expected = [
        (100 * np.mean(list(a)), 100 * np.mean(list(b))) for a, b in (zip(*bins[k], strict=True) for k in sorted(bins))
    ]
    assert [(point.x, point.y) for point in chart.points] == [pytest.approx(pair) for pair in expected]


def test_a_chart_is_drawn_to_scale() -> None:
    chart = Chart(
        description="a line",
        x=Axis(low=0, high=10, marks=[(5, "five")]),
        y=percent_axis(),
        points=[
            Point(x=0, y=0, text="begin"),
            Point(x=10, y=100, text=""),
            Point(x=20, y=50, text="beyond", label="b"),
        ],
        reference=((0, 100), (10, 0)),
    )
    assert chart.line == "44.0,170.0 510.0,10.0 510.0,90.0"
    assert chart.dashes == "44.0,10.0 510.0,170.0"
    assert chart.columns == [{"x": "277.0", "text": "five"}]
    assert [row["text"] for row in chart.rows] == ["0", "25", "50", "75", "100"]
    assert [dot["text"] for dot in chart.dots] == ["begin", "beyond"]


def test_filter_chart_labels_the_evaluated_threshold(judged: Evaluation, dataset: ReidDataset) -> None:
    chart = filter_chart(judged)
    assert chart is not None
    named = {point.label: point for point in chart.points if point.label}
    assert {"0.7 strict", "0.95 quality", "0.2 as evaluated"} <= named.keys()
    assert judged.filter is not None
    lost = named["0.2 as evaluated"].y / 100
    # Crops that come back because too few would stay are lost to the curve.
    assert judged.filter.cost.identity_loss is not None
    assert judged.filter.cost.identity_loss <= lost + 1e-9
    assert named["0.2 as evaluated"].x < named["0.95 quality"].x <= 100
    plain = evaluate_model(dataset, Extractor(random_package(schema=None, regions=None)), EvaluationOptions())
    assert filter_chart(plain) is None


def test_two_models_stand_under_each_other_where_they_differ(dataset: ReidDataset, judged: Evaluation) -> None:
    other = evaluate_model(dataset, Extractor(random_package(seed=1)), EvaluationOptions())
    won, lost, hardest = groups([("a", judged), ("b", other)])
    assert (won["title"], lost["title"]) == ("Where a gains most on b", "Where b is better by most")
    for group, sign in ((won, 1), (lost, -1)):
        gains = [sign * (strip["rankings"][0]["ap"] - strip["rankings"][1]["ap"]) for strip in group["strips"]]
        assert all(gain > 0 for gain in gains)
        assert gains == sorted(gains, reverse=True)
        assert [ranking["model"] for ranking in group["strips"][0]["rankings"]] == ["a", "b"]
    assert hardest["strips"][0]["rankings"][0]["ap"] == pytest.approx(100 * judged.scores.ap.min())
    single = groups([("a", judged)])
    assert [group["title"] for group in single] == ["Hardest queries", "In the middle", "Easiest queries"]
    assert single[0]["strips"][0]["rankings"][0]["model"] == ""


def test_the_page_holds_everything_and_loads_nothing(dataset: ReidDataset, judged: Evaluation, tmp_path: Path) -> None:
    extractor = Extractor(random_package())
    other = evaluate_model(dataset, Extractor(random_package(seed=1)), EvaluationOptions())
    pictures = region_pictures(dataset, extractor, make_parser("default"), shown=2)
    rival = ComparedModel(name="<b>rival", benchmark=other, comparison=compare(judged, other))
    page = evaluation_page(judged, {"Dataset": "people"}, "cross-camera", model="ours", other=rival, pictures=pictures)
    for heading in (
        "ours compared with &lt;b&gt;rival",
        "Attributes",
        "What the model says of some images",
        "Reliability of attributes",
        "What a filter by attributes would cost",
        "With the filter, and without",
        "Regions as parser, clustering, their fusion and the network see them",
        "Where ours gains most on &lt;b&gt;rival",
    ):
        assert f"<h2>{heading}</h2>" in page
    for sign in ("✓", "✗", 'class="right"', 'class="wrong"', "m-wrong", "truth", "network"):
        assert sign in page
    assert "<script" not in page
    assert "http" not in page
    assert re.findall(r'src="(?!data:image/jpeg;base64,)', page) == []
