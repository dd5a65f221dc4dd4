"""Selection and rendering of what the page of an evaluation shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.random_models import random_package
from vestigo.datasets.recognise import load_dataset
from vestigo.datasets.reid import ReidDataset
from vestigo.datasets.synthetic import write_rendered
from vestigo.evaluation.evaluate import compare, evaluate_model
from vestigo.evaluation.ranking import EvaluationOptions
from vestigo.evaluation.result import Evaluation
from vestigo.reports.charts import Axis, Chart, Point, filter_chart, percent_axis, reliability_chart
from vestigo.reports.evaluation import attribute_cards, evaluation_page, group_queries
from vestigo.reports.region_examples import region_examples, select_identities
from vestigo_models.attribute_filter.choice import FilterChoice
from vestigo_models.fls.config import FlsConfig
from vestigo_models.fls.fusion import fls_labels
from vestigo_models.inference.extractor import Extractor
from vestigo_models.inference.images import read_image
from vestigo_models.parsing.label_maps import label_cells
from vestigo_models.parsing.registry import make_parser
from vestigo_models.schemas.builtin import MARKET_1501

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ReidDataset:
    root = tmp_path_factory.mktemp("people") / "rendered"
    write_rendered(root, "small", 24, 2, 3, seed=4, processes=1)
    return load_dataset(root)


@pytest.fixture(scope="module")
def evaluation(dataset: ReidDataset) -> Evaluation:
    options = EvaluationOptions(filter=FilterChoice(mode="fixed", threshold=0.2))
    return evaluate_model(dataset, Extractor(random_package()), options)


def test_identities_are_selected_by_carried_belongings(dataset: ReidDataset) -> None:
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
    selected = select_identities(dataset, 7)
    assert [int(split.pids[rows[0]]) for _, rows in selected] == sorted(expected)
    for title, rows in selected:
        pid = int(split.pids[rows[0]])
        assert title == f"person {pid} · {', '.join(carried[pid]) or 'carries nothing'}"
        assert rows.tolist() == [row for row, other in enumerate(split.pids.tolist()) if other == pid]
    assert len(select_identities(dataset, 100)) == 12


def test_examples_show_parser_clusters_fusion_network_and_truth(dataset: ReidDataset) -> None:
    extractor, parser = Extractor(random_package()), make_parser("default")
    examples = region_examples(dataset, extractor, parser, shown=3)
    assert len(examples) == 3
    for example in examples:
        layers = {caption: labels for caption, labels, _ in example.layers}
        assert list(layers) == ["parser", "clustering", "FLS", "network", "truth"]
        predicted = extractor.regions([example.image])[0].argmax(axis=2)
        assert np.array_equal(layers["network"], predicted)
        assert layers["truth"].shape == layers["parser"].shape == example.image.shape[:2]
        pid = int(re.match(r"person (\d+)", example.title)[1])  # type: ignore[index]
        images = [read_image(dataset.gallery.paths[row]) for row in np.flatnonzero(dataset.gallery.pids == pid)]
        (place,) = [n for n, image in enumerate(images) if np.array_equal(image, example.image)]
        coarse = [label_cells(parser.parse(image, "a.jpg").regions, extractor.package.grid) for image in images]
        fused = fls_labels(extractor.feature_maps(images)[0], np.stack(coarse), FlsConfig())
        assert np.array_equal(layers["FLS"], fused[place])
    plain = Extractor(random_package(schema=None, regions=None))
    with pytest.raises(ValueError, match="no feature map"):
        region_examples(dataset, plain, parser, shown=1)


def test_attribute_cards_compare_predictions_with_labels(evaluation: Evaluation) -> None:
    attributes = evaluation.attributes
    assert attributes is not None
    cards = attribute_cards(attributes, evaluation.gallery_paths)
    assert len(cards) == 12
    assert [cards[0]["row"], cards[-1]["row"]] == attributes.images[[0, -1]].tolist()
    assert cards[0]["path"] == evaluation.gallery_paths[cards[0]["row"]]
    for line, column in zip(cards[-1]["lines"], range(12), strict=True):
        label = attributes.labels[-1, column]
        values = MARKET_1501.attributes[column].values
        expected = "unknown" if label < 0 else "right" if line["predicted"] in (values[label],) else "wrong"
        assert line["mark"] == expected
        assert line["truth"] == ("not annotated" if label < 0 else values[label])
        assert line["confidence"] == pytest.approx(100 * attributes.confidences[-1, column])


def test_reliability_counts_predictions_by_confidence(evaluation: Evaluation) -> None:
    attributes = evaluation.attributes
    assert attributes is not None
    chart = reliability_chart(attributes)
    assert chart is not None
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, column in np.argwhere(attributes.labels >= 0):
        confidence = float(attributes.confidences[row, column])
        bins.setdefault(min(9, int(np.ceil(np.float32(confidence) * 10)) - 1), []).append(
            (confidence, bool(attributes.correct[row, column]))
        )
    expected = [
        (100 * np.mean(list(a)), 100 * np.mean(list(b))) for a, b in (zip(*bins[k], strict=True) for k in sorted(bins))
    ]
    assert [(point.x, point.y) for point in chart.points] == [pytest.approx(pair) for pair in expected]


def test_chart_scales_points_to_its_axes() -> None:
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


def test_filter_chart_labels_the_evaluated_threshold(evaluation: Evaluation, dataset: ReidDataset) -> None:
    chart = filter_chart(evaluation)
    assert chart is not None
    named = {point.label: point for point in chart.points if point.label}
    assert {"0.7 strict", "0.95 quality", "0.2 as evaluated"} <= named.keys()
    assert evaluation.filter is not None
    miss_rate = named["0.2 as evaluated"].y / 100
    # The filter restores crops if too few would remain; the curve does not.
    assert evaluation.filter.cost.identity_loss is not None
    assert evaluation.filter.cost.identity_loss <= miss_rate + 1e-9
    assert named["0.2 as evaluated"].x < named["0.95 quality"].x <= 100
    plain = evaluate_model(dataset, Extractor(random_package(schema=None, regions=None)), EvaluationOptions())
    assert filter_chart(plain) is None


def test_queries_of_two_models_are_grouped_by_difference(dataset: ReidDataset, evaluation: Evaluation) -> None:
    other = evaluate_model(dataset, Extractor(random_package(seed=1)), EvaluationOptions())
    won, lost, hardest = group_queries([("a", evaluation), ("b", other)])
    assert (won[0], lost[0]) == ("Where a gains most on b", "Where b is better by most")
    for (_, rows), sign in ((won, 1), (lost, -1)):
        gains = sign * (evaluation.scores.ap[rows] - other.scores.ap[rows])
        assert (gains > 0).all()
        assert gains.tolist() == sorted(gains, reverse=True)
    assert evaluation.scores.ap[hardest[1][0]] == evaluation.scores.ap.min()
    titles = [title for title, _ in group_queries([("a", evaluation)])]
    assert titles == ["Hardest queries", "In the middle", "Easiest queries"]


def test_page_names_models_only_if_two_are_compared(dataset: ReidDataset, evaluation: Evaluation) -> None:
    other = evaluate_model(dataset, Extractor(random_package(seed=1)), EvaluationOptions())
    models = {"ours": evaluation, "other": other}
    page = evaluation_page(models, {"Dataset": "people"}, "all", comparison=compare(evaluation, other))
    names = re.findall(r"<b>(ours|other)</b> · AP", page)
    assert names[:2] == ["ours", "other"]
    assert names.count("ours") == names.count("other") == len(names) // 2
    single = evaluation_page({"ours": evaluation}, {"Dataset": "people"}, "all")
    assert "</b> · AP" not in single
    row = int(group_queries([("ours", evaluation)])[0][1][0])
    query, ap = evaluation.query, 100 * evaluation.scores.ap[row]
    assert f"person {query.pids[row]}<br>camera {query.camids[row] + 1}<br>AP {ap:.1f} %" in single


def test_page_shows_intervals_and_pairs_of_cameras(evaluation: Evaluation) -> None:
    page = evaluation_page({"ours": evaluation}, {"Dataset": "people"}, "cross-camera")
    (low, high), first = (evaluation.intervals()[name] or (0, 0) for name in ("mAP", "rank1"))
    line = f"mAP {low:.1f} to {high:.1f}, Rank-1 {first[0]:.1f} to {first[1]:.1f}"
    assert line in page
    table = page[page.index("<h2>By pair of cameras</h2>") :].split("</table>")[0]
    pairs = evaluation.by_camera_pair()
    assert set(pairs) == {(0, 1), (1, 0)}
    assert re.findall(r">([\d.–]+)</td>", table) == [
        *("1", "–", f"{pairs[0, 1].mAP:.1f}"),
        *("2", f"{pairs[1, 0].mAP:.1f}", "–"),
    ]


def test_page_is_complete_and_self_contained(dataset: ReidDataset, evaluation: Evaluation, tmp_path: Path) -> None:
    extractor = Extractor(random_package())
    other = evaluate_model(dataset, Extractor(random_package(seed=1)), EvaluationOptions())
    examples = region_examples(dataset, extractor, make_parser("default"), shown=2)
    models = {"ours": evaluation, "<b>other": other}
    page = evaluation_page(
        models, {"Dataset": "people"}, "cross-camera", comparison=compare(evaluation, other), region_examples=examples
    )
    for heading in (
        "ours compared with &lt;b&gt;other",
        "Attributes",
        "Predicted attributes of some images",
        "Reliability of attributes",
        "Miss rate and kept fraction of the attribute filter",
        "With and without the filter",
        "Regions of parser, clustering, fusion and network",
        "Where ours gains most on &lt;b&gt;other",
    ):
        assert f"<h2>{heading}</h2>" in page
    for sign in ("✓", "✗", 'class="right"', 'class="wrong"', "m-wrong", "truth", "network"):
        assert sign in page
    assert "<script" not in page
    assert "http" not in page
    assert re.findall(r'src="(?!data:image/jpeg;base64,)', page) == []
