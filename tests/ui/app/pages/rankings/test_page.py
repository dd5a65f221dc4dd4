"""Page Rankings: what it says of rankings whose truth is known, and of those whose is not."""

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
from vestigo_ui.app.pages.rankings.rows import mark_of
from vestigo_ui.app.pages.rankings.scores import LruCache, ScoredRanking, ordered, paired, scored
from vestigo_ui.app.pages.rankings.table import query_table
from vestigo_ui.app.pages.rankings.wording import compared, scores

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from tests.ui.conftest import Archive


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


def look(store: Path, name: str, protocol: Any = "cross-camera") -> ScoredRanking:
    with Store.open(store) as opened:
        ranking = opened.rankings.get(name)
        return scored(ranking, score_ranking(opened.rankings, ranking, protocol))


def sheet(app: AppTest) -> list[dict[str, Any]]:
    """The tiles of the contact sheet that is shown."""
    import json

    (shown,) = [one for one in app.main if one.type == "bidi_component"]
    return json.loads(shown.proto.json)["tiles"]


def test_the_list_says_what_made_each(page: Any) -> None:
    app = page()
    (table,) = app.dataframe
    frame = table.value
    assert set(frame["Ranking"]) == {"everybody", "only-hall", "shallow", "tracklets", "old", "strangers"}
    told = frame.set_index("Ranking")
    assert told.loc["only-hall", "Settings"] == "cameras hall"
    assert told.loc["tracklets", "Of"] == "Tracklets"
    assert told.loc["strangers", "Of"] == "Images of strangers"
    assert (told.loc["old", "Of"], told.loc["old", "Settings"]) == ("–", "–")
    assert told.loc["shallow", "Top"] == 2


def test_a_ranking_with_its_truth(page: Any, store: Path) -> None:
    app = page(ranking="everybody")
    said = words(app)
    assert "Judging" not in said
    one = look(store, "everybody")
    frame = app.dataframe[0].value
    ap = one.judged.scores.ap[one.judged.scores.scored]
    assert frame.loc[0, "mAP (%)"] == pytest.approx(100 * ap.mean())
    assert frame.loc[0, "95 % from"] <= frame.loc[0, "mAP (%)"] <= frame.loc[0, "to"]
    assert f"{len(one.judged):,} queries" in said


def test_a_shallow_ranking_is_a_lower_bound(page: Any) -> None:
    said = words(page(ranking="shallow"))
    assert "true matches are not among the kept rows and count as not found: mAP is a lower bound" in said


@pytest.mark.parametrize("pane", ["table", "curve", "cameras"])
def test_panes(page: Any, pane: str) -> None:
    app = page(ranking="everybody", pane=pane)
    assert len(app.dataframe) == 2
    if pane == "table":
        ap = app.dataframe[1].value["AP (%)"].dropna()
        assert list(ap) == sorted(ap)


def test_two_settings_side_by_side(page: Any) -> None:
    app = page(ranking="everybody", **{"with": "shallow"}, pane="table")
    said = words(app)
    assert "queries that both score, everybody has" in said
    gained = app.dataframe[1].value["AP gained (%)"].dropna().abs()
    assert list(gained) == sorted(gained, reverse=True)
    assert app.dataframe[0].value["Ranking"].tolist() == ["everybody", "shallow"]


def test_one_query_in_full_and_one_that_is_not_there(page: Any, archive: Archive) -> None:
    crop = archive.crops[0]["crop_id"]
    assert "true matches found" in words(page(ranking="everybody", query=crop))
    assert "true matches found" in words(page(ranking="everybody", query=crop, **{"with": "only-hall"}))
    assert "The ranking has no query nobody" in words(page(ranking="everybody", query="nobody"))


def test_rankings_without_truth_are_shown_all_the_same(page: Any) -> None:
    assert "older than the truth is kept" in words(page(ranking="old"))
    assert "Nobody knows who the queries are" in words(page(ranking="strangers"))
    assert "Without the truth there is nothing to draw" in words(page(ranking="old", pane="curve"))
    assert "have no query in common" in words(page(ranking="old", **{"with": "strangers"}))


def test_nonsense_in_the_address(page: Any) -> None:
    said = words(page(ranking="no-such"))
    assert "There is no ranking no-such in this store" in said
    nonsense = {"with": "nothing", "pane": "x", "order": "y", "protocol": "z", "look": "q", "of": "z"}
    app = page(ranking="everybody", **nonsense)
    app.query_params["page"] = "-7"
    app.run()
    assert "There is no ranking nothing" in words(app)
    assert app.dataframe[0].value["Ranking"].tolist() == ["everybody"]
    assert "No query has “zzz”" in words(page(ranking="everybody", find="zzz"))


def test_a_store_without_rankings(page: Any, archive: Archive, tmp_path: Path) -> None:
    with Store.open(tmp_path / "new"):
        pass
    assert "`vestigo rank QUERIES --store STORE --name NAME` makes one" in words(page(store=tmp_path / "new"))


def test_crops_that_are_gone_leave_a_grey_tile(page: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    from vestigo.store.parquet.schemas import QUERIES, RANKING

    with Store.open(tmp_path / "s") as opened:
        opened.models.register(MODEL, name="fake", location="nowhere")
        rows = [{"query": "q", "rank": 1, "crop": "f" * 20, "distance": 0.5, "pid": 1, "camera": "c"}]
        query = [{"query": "q", "pid": 1, "camera": "d", "rows": 1, "own": 0, "matches": [{"camera": "c", "crops": 1}]}]
        tables = (pa.Table.from_pylist(rows, RANKING), pa.Table.from_pylist(query, QUERIES))
        opened.rankings.save("gone", model=MODEL, rows=tables[0], queries=tables[1], settings={})
    app = page(store=tmp_path / "s", ranking="gone")
    assert app.dataframe[0].value.loc[0, "mAP (%)"] == 100


def test_what_is_shown_is_written_to_the_audit_log(page: Any, store: Path) -> None:
    page(ranking="everybody", role="viewer")
    with Store.open(store) as opened:
        (entry,) = opened.audit.entries(newest=True, limit=1)
    assert (entry.user, entry.action) == ("the-viewer", "view")
    assert entry.details["ranking"] == "everybody"
    assert entry.details["shown"] > 0


def test_orders_of_queries(store: Path) -> None:
    one, other = look(store, "everybody"), look(store, "shallow")
    both = paired(one, other)
    ap = one.judged.scores.ap
    for order, sign in (("worst", 1), ("best", -1)):
        found = ordered(one, None, order)
        values = sign * ap[found]
        assert sorted(found) == list(range(len(ap)))
        known = values[~np.isnan(values)]
        assert list(known) == sorted(known)
        assert np.isnan(values[len(known) :]).all()
    gain = dict(zip(both.first.tolist(), both.gain.tolist(), strict=True))
    changed = [abs(gain[query]) for query in ordered(one, both, "changed")]
    changed = [value for value in changed if value == value]
    assert changed == sorted(changed, reverse=True)
    name = one.judged.names[3].as_py()
    assert ordered(one, None, "kept", name[4:12].upper()).tolist() == [3]


def test_pairs_of_rankings_are_made_by_name(store: Path) -> None:
    one, other = look(store, "everybody"), look(store, "only-hall")
    both = paired(one, other)
    names = one.judged.names.to_pylist()
    assert [names[place] for place in both.first] == [other.judged.names[int(place)].as_py() for place in both.second]
    expected = other.judged.scores.ap - one.judged.scores.ap
    np.testing.assert_array_equal(both.gain, expected)
    assert both.difference is not None
    assert both.difference.difference == pytest.approx(100 * np.nanmean(expected))
    assert "points of mAP more than" in compared(both, "a", "b")
    nothing = paired(one, look(store, "strangers"))
    assert compared(nothing, "a", "b") == "a and b have no query in common."


def test_numbers_of_queries_and_cameras(store: Path) -> None:
    one, other = look(store, "everybody", "all"), look(store, "shallow", "all")
    both = paired(one, other)
    frame = query_table(one, other, both, ordered(one, both, "kept"))
    assert frame["Query"].tolist() == one.judged.names.to_pylist()
    assert frame["Person"].tolist() == one.judged.pids.tolist()
    assert frame["AP gained (%)"].dropna().le(0).all()
    pairs = pair_table([one, other])
    assert set(zip(pairs["Query camera"], pairs["Gallery camera"], strict=True)) <= {
        (here, there) for here in ("gate", "hall") for there in ("gate", "hall")
    }
    assert pairs["everybody: Queries"].sum() == one.judged.pairs.queries.sum()
    old = look(store, "old")
    assert pd.isna(query_table(old, None, None, np.arange(2)).loc[0, "Person"])
    assert scores([old]).loc[0, "Scored"] == 0


def test_marks_in_words() -> None:
    assert mark_of(TRUE_MATCH, 1, "all") == ("Right", "right")
    assert mark_of(FALSE_MATCH, 1, "all") == ("Wrong", "wrong")
    assert mark_of(NOT_COMPARED, 1, "cross-camera")[0] == "Same camera"
    assert mark_of(NOT_COMPARED, 1, "same-camera")[0] == "Other camera"
    assert mark_of(UNLABELLED, 1, "all")[0] == "Unknown"
    assert mark_of(UNLABELLED, 0, "all")[0] == ""


def test_memory_forgets_what_was_longest_unused() -> None:
    memory, made = LruCache(2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        memory.get(key, lambda key=key: made.append(key) or key)
    assert made == ["a", "b", "c", "b"]
