"""Page Rankings: scores, comparisons, and rankings without known identities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from tests.support.app_pages import run_app, words
from tests.support.fake_pipeline import MODEL
from tests.support.ranked_store import ranked_store
from vestigo.evaluation.metrics.truncated import FALSE_MATCH, NOT_COMPARED, TRUE_MATCH, UNLABELLED
from vestigo.evaluation.saved_rankings import score_ranking
from vestigo.store.open import Store
from vestigo_ui.app.pages.rankings.curves import pair_table
from vestigo_ui.app.pages.rankings.scores import OpenRanking, compare_rankings, sort_queries, with_interval
from vestigo_ui.app.pages.rankings.sheet import mark_of
from vestigo_ui.app.pages.rankings.tables import describe_difference, query_table, score_table

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.ui.conftest import Archive

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(pristine: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ranked_store(pristine, tmp_path_factory.mktemp("ranked"))


@pytest.fixture
def page(store: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def show(**query: Any) -> AppTest:
        app = run_app(monkeypatch, query.pop("store", store), page="rankings", **query)
        assert not app.exception, app.exception
        return app

    return show


def open_saved(store: Path, name: str, protocol: Any = "cross-camera") -> OpenRanking:
    with Store.open(store) as opened:
        ranking = opened.rankings.get(name)
        return with_interval(ranking, protocol, score_ranking(opened.rankings, ranking, protocol))


def sheet(app: AppTest) -> list[dict[str, Any]]:
    """Return the tiles of the contact sheet."""
    import json

    (shown,) = [element for element in app.main if element.type == "bidi_component"]
    return json.loads(shown.proto.json)["tiles"]


def test_list_shows_how_rankings_were_made(page: Any) -> None:
    app = page()
    (listed,) = app.dataframe
    frame = listed.value
    assert set(frame["Ranking"]) == {"everybody", "only-hall", "shallow", "tracklets", "old", "strangers"}
    table = frame.set_index("Ranking")
    assert table.loc["only-hall", "Settings"] == "cameras hall"
    assert table.loc["tracklets", "Source"] == "Tracklets"
    assert table.loc["strangers", "Source"] == "Images of strangers"
    assert (table.loc["old", "Source"], table.loc["old", "Settings"]) == ("–", "–")
    assert table.loc["shallow", "Top"] == 2


def test_ranking_shows_scores(page: Any, store: Path) -> None:
    app = page(ranking="everybody")
    text = words(app)
    assert "Scoring" not in text
    ranking = open_saved(store, "everybody")
    frame = app.dataframe[0].value
    ap = ranking.scores.scores.ap[ranking.scores.scores.scored]
    assert frame.loc[0, "mAP (%)"] == pytest.approx(100 * ap.mean())
    assert frame.loc[0, "95 % from"] <= frame.loc[0, "mAP (%)"] <= frame.loc[0, "to"]
    assert f"{len(ranking.scores):,} queries" in text


def test_truncated_ranking_is_lower_bound(page: Any) -> None:
    text = words(page(ranking="shallow"))
    assert "true matches are not among the saved rows and count as missed: mAP is a lower bound" in text


@pytest.mark.parametrize("pane", ["table", "curve", "cameras"])
def test_panes_are_shown(page: Any, pane: str) -> None:
    app = page(ranking="everybody", pane=pane)
    assert len(app.dataframe) == 2
    if pane == "table":
        ap = app.dataframe[1].value["AP (%)"].dropna()
        assert list(ap) == sorted(ap)


def test_two_rankings_are_compared(page: Any) -> None:
    app = page(ranking="everybody", **{"with": "shallow"}, pane="table")
    text = words(app)
    assert "queries that both score, everybody has" in text
    gained = app.dataframe[1].value["AP gained (%)"].dropna().abs()
    assert list(gained) == sorted(gained, reverse=True)
    assert app.dataframe[0].value["Ranking"].tolist() == ["everybody", "shallow"]


def test_query_is_opened_or_reported_missing(page: Any, archive: Archive) -> None:
    crop = archive.crops[0]["crop_id"]
    assert "true matches retrieved" in words(page(ranking="everybody", query=crop))
    assert "true matches retrieved" in words(page(ranking="everybody", query=crop, **{"with": "only-hall"}))
    assert "The ranking has no query unknown" in words(page(ranking="everybody", query="unknown"))


def test_ranking_without_identities_is_shown(page: Any) -> None:
    assert "This ranking has no identities" in words(page(ranking="old"))
    assert "the identities of the queries are unknown" in words(page(ranking="strangers"))
    assert "Without known identities there are no scores to show" in words(page(ranking="old", pane="curve"))
    assert "share no query" in words(page(ranking="old", **{"with": "strangers"}))


def test_invalid_address_is_reported(page: Any) -> None:
    text = words(page(ranking="no-such"))
    assert 'Unknown ranking "no-such". Choose one of: ' in text
    invalid = {"with": "nothing", "pane": "x", "order": "y", "protocol": "z", "look": "q", "of": "z"}
    app = page(ranking="everybody", **invalid)
    app.query_params["page"] = "-7"
    app.run()
    for name, value in invalid.items():
        if name != "look":
            assert f'"{value}"' in words(app)
    assert app.dataframe[0].value["Ranking"].tolist() == ["everybody"]
    assert "No query has “zzz”" in words(page(ranking="everybody", find="zzz"))


def test_store_without_rankings_names_command(page: Any, archive: Archive, tmp_path: Path) -> None:
    with Store.open(tmp_path / "new"):
        pass
    text = words(page(store=tmp_path / "new", ranking="no-such"))
    assert "`vestigo rank QUERIES --store STORE --name NAME` makes one" in text
    assert 'Unknown ranking "no-such". Choose one of: none yet' in text


def test_missing_crop_has_grey_tile(page: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    from vestigo.store.parquet.schemas import QUERIES, RANKING

    with Store.open(tmp_path / "s") as opened:
        opened.models.register(MODEL, name="fake", location="nowhere")
        rows = [{"query": "q", "rank": 1, "crop": "f" * 20, "distance": 0.5, "pid": 1, "camera": "c"}]
        query = [{"query": "q", "pid": 1, "camera": "d", "rows": 1, "own": 0, "matches": [{"camera": "c", "crops": 1}]}]
        tables = (pa.Table.from_pylist(rows, RANKING), pa.Table.from_pylist(query, QUERIES))
        opened.rankings.save("broken", model=MODEL, rows=tables[0], queries=tables[1], settings={})
    app = page(store=tmp_path / "s", ranking="broken")
    assert app.dataframe[0].value.loc[0, "mAP (%)"] == 100


def test_view_is_audited(page: Any, store: Path) -> None:
    page(ranking="everybody", role="viewer")
    with Store.open(store) as opened:
        (entry,) = opened.audit.entries(newest=True, limit=1)
    assert (entry.user, entry.action) == ("the-viewer", "view")
    assert entry.details["ranking"] == "everybody"
    assert entry.details["shown"] > 0


def test_queries_are_sorted(store: Path) -> None:
    ranking, other = open_saved(store, "everybody"), open_saved(store, "shallow")
    pair = compare_rankings(ranking, other)
    ap = ranking.scores.scores.ap
    for order, sign in (("worst", 1), ("best", -1)):
        ordered = sort_queries(ranking, None, order)
        values = sign * ap[ordered]
        assert sorted(ordered) == list(range(len(ap)))
        known = values[~np.isnan(values)]
        assert list(known) == sorted(known)
        assert np.isnan(values[len(known) :]).all()
    gain = dict(zip(pair.first_queries.tolist(), pair.gain.tolist(), strict=True))
    changed = [abs(gain[query]) for query in sort_queries(ranking, pair, "changed")]
    changed = [value for value in changed if value == value]
    assert changed == sorted(changed, reverse=True)
    name = ranking.scores.names[3].as_py()
    assert sort_queries(ranking, None, "kept", name[4:12].upper()).tolist() == [3]


def test_rankings_are_paired_by_query_name(store: Path) -> None:
    ranking, other = open_saved(store, "everybody"), open_saved(store, "only-hall")
    pair = compare_rankings(ranking, other)
    names = ranking.scores.names.to_pylist()
    assert [names[place] for place in pair.first_queries] == [
        other.scores.names[int(place)].as_py() for place in pair.second_queries
    ]
    expected = other.scores.scores.ap - ranking.scores.scores.ap
    np.testing.assert_array_equal(pair.gain, expected)
    assert pair.difference is not None
    assert pair.difference.difference == pytest.approx(100 * np.nanmean(expected))
    assert "points of mAP more than" in describe_difference(pair)
    disjoint = compare_rankings(ranking, open_saved(store, "strangers"))
    assert describe_difference(disjoint) == "everybody and strangers have no query in common."


def test_tables_of_queries_and_cameras(store: Path) -> None:
    ranking, other = open_saved(store, "everybody", "all"), open_saved(store, "shallow", "all")
    pair = compare_rankings(ranking, other)
    frame = query_table(ranking, pair, sort_queries(ranking, pair, "kept"))
    assert frame["Query"].tolist() == ranking.scores.names.to_pylist()
    assert frame["Identity"].tolist() == ranking.scores.pids.tolist()
    assert frame["AP gained (%)"].dropna().le(0).all()
    pairs = pair_table([ranking, other])
    assert set(zip(pairs["Query camera"], pairs["Gallery camera"], strict=True)) <= {
        (here, there) for here in ("gate", "hall") for there in ("gate", "hall")
    }
    assert pairs["everybody: Queries"].sum() == ranking.scores.pairs.queries.sum()
    old = open_saved(store, "old")
    assert pd.isna(query_table(old, None, np.arange(2)).loc[0, "Identity"])
    assert score_table([old]).loc[0, "Scored"] == 0


def test_marks_of_relations() -> None:
    assert mark_of(TRUE_MATCH, 1, "all") == ("True match", "right")
    assert mark_of(FALSE_MATCH, 1, "all") == ("False match", "wrong")
    assert mark_of(NOT_COMPARED, 1, "cross-camera")[0] == "Same camera"
    assert mark_of(NOT_COMPARED, 1, "same-camera")[0] == "Other camera"
    assert mark_of(UNLABELLED, 1, "all")[0] == "Unknown"
    assert mark_of(UNLABELLED, 0, "all")[0] == ""
