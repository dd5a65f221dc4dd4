"""Page Models: the registry, permissions, confirmations and audit entries."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from tests.support.app_pages import run_app, words
from tests.support.fake_pipeline import MODEL
from tests.support.models_store import TEST, models_store
from tests.support.review_archive import PER_TRACKLET
from vestigo.resolve import find_registered, resolve_search_model
from vestigo.store.open import Store
from vestigo_models.errors import StoreError, UsageError
from vestigo_ui.app.components.processes import ServerProcesses
from vestigo_ui.app.pages.models.registry import layout_tree, lineage_figure, read_registry
from vestigo_ui.app.pages.models.scores import compared_model, comparison_frame, gate_frame, interval_figure
from vestigo_ui.app.pages.models.serving import promote, roll_back
from vestigo_ui.web.auth.identity import User
from vestigo_ui.web.auth.users import Role

CROPS = 12 * PER_TRACKLET


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("models")
    return models_store(root / "store", root / "packages")


@pytest.fixture
def store(made: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "store"))


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Return the commands that the page starts, without starting them."""
    started: list[Sequence[str]] = []
    monkeypatch.setattr(ServerProcesses, "start", lambda self, name, command, log: started.append(command))
    return started


@pytest.fixture
def digests(made: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return made[1]


def table(app: AppTest, place: int = 0) -> pd.DataFrame:
    assert not app.exception
    frame: pd.DataFrame = app.dataframe[place].value
    return frame


def press(app: AppTest, label: str) -> AppTest:
    """Press the button of that name, in a dialog where one is open."""
    return [button for button in app.button if button.label == label][-1].click().run()


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def context_of(store: Store, role: str) -> object:
    """Return a context with the fields that actions read."""
    from vestigo_ui.app.context import PageContext
    from vestigo_ui.web.settings import Settings

    user = User(name=f"the-{role}", role=Role(role), session="test")
    return PageContext(
        store=store,
        index=None,  # type: ignore[arg-type]
        user=user,
        settings=Settings(),
        case="2026-17",
        authority=None,
        blurred=False,
    )


def test_table_shows_the_registry(monkeypatch: pytest.MonkeyPatch, store: Path, digests: dict[str, str]) -> None:
    app = run_app(monkeypatch, store, page="models", role="viewer")
    rows = table(app).set_index("Model")
    assert rows.index.tolist() == ["worse", "better", "fake"]
    assert rows.loc["fake", ["State", "Crops", "mAP (%)"]].tolist() == ["Serves, Files missing", CROPS, 50.0]
    assert rows.loc["better", ["Gate", "Label set", "Attributes (%)", "Balanced (%)"]].tolist() == [
        "Passed",
        1,
        74.0,
        72.25,
    ]
    assert rows.loc["worse", "Gate"] == "Refused"
    assert rows.loc["better", "Trained from"] == f"fake ({MODEL[:8]})"
    assert "promoted by ann" in words(app)
    assert not {"Promote", "Roll back"} & set(labels(app))


def test_open_model_is_compared_with_the_model_of_the_gate(
    monkeypatch: pytest.MonkeyPatch, store: Path, digests: dict[str, str]
) -> None:
    app = run_app(monkeypatch, store, page="models", role="reviewer", model=digests["better"])
    facts = table(app).set_index("Fact")["Value"]
    assert (facts["Label set"], facts["Reviewed tasks"], facts["Digest"]) == ("1", "40", digests["better"])
    rows = table(app, 1).set_index("Measure")
    assert rows.loc["Hat", ["Before (%)", "After (%)", "Difference", "95 % from", "95 % to", "People"]].tolist() == [
        80.0,
        88.0,
        8.0,
        6.0,
        10.0,
        60,
    ]
    assert rows.loc["Attributes, balanced", "Difference"] == 0.75
    text = words(app)
    assert f"Evaluated on {TEST}; before is fake" in text
    assert f"Passed against fake ({MODEL[:8]})" in text
    assert any("better beyond chance" in element.value for element in app.text)
    assert "It has never served." in text
    assert "An admin can promote this model." in text
    assert "Promote" not in labels(app)


def test_admin_promotes_and_rolls_back(
    monkeypatch: pytest.MonkeyPatch, store: Path, digests: dict[str, str], commands: list[Sequence[str]]
) -> None:
    app = run_app(monkeypatch, store, page="models", role="admin", model=digests["better"])
    press(app, "Promote")
    assert f"better ({digests['better'][:8]})** will serve in the place of **fake" in words(app)
    press(app, "Promote better")
    assert app.error[0].value == "Tick the box to confirm."
    app.checkbox[-1].check()
    app.text_area[-1].input("hats")
    press(app, "Promote better")
    text = words(app)
    assert f"better ({digests['better'][:8]}) serves now, in the place of fake ({MODEL[:8]})." in text
    assert f"{CROPS} crops are of other models and are not searched with it: `vestigo index --reindex-stale" in text
    # The model before it answers until the archive is indexed again, which has been started.
    assert f"fake ({MODEL[:8]}) answers until the archive is indexed again" in text
    ((*_, index, reindex, named),) = commands
    assert (index, reindex, named) == ("index", "--reindex-stale", f"--store={store}")
    with Store.open(store) as opened:
        assert opened.models.serving() == digests["better"]
        assert resolve_search_model(opened).digest == MODEL
        (started,) = opened.audit.entries(action="reindex")
        assert (started.user, started.details) == ("the-admin", {"model": digests["better"]})
        (entry,) = opened.audit.entries(action="promote", user="the-admin")
        assert (entry.details["model"], entry.details["before"]) == (digests["better"], MODEL)
        assert entry.details["reasons"][0] == "hats"
    press(app, "Roll back")
    assert f"fake ({MODEL[:8]})** will serve again in the place of **better" in words(app)
    # What confirmed the promotion does not confirm this.
    assert (app.checkbox[-1].value, app.text_area[-1].value) == (False, "")
    app.checkbox[-1].check()
    press(app, "Roll back")
    assert f"fake ({MODEL[:8]}) serves again, in the place of better" in words(app)
    with Store.open(store) as opened:
        assert opened.models.serving() == MODEL
        (entry,) = opened.audit.entries(action="rollback")
        assert (entry.details["model"], entry.details["before"]) == (MODEL, digests["better"])


def test_refused_model_needs_a_reason_and_missing_model_cannot_serve(store: Path, digests: dict[str, str]) -> None:
    with Store.open(store) as opened:
        admin = context_of(opened, "admin")
        worse, old = find_registered(opened, digests["worse"]), find_registered(opened, MODEL)
        with pytest.raises(UsageError, match="requires a reason"):
            promote(admin, worse, serving=MODEL, sure=True, reason="  ")  # type: ignore[arg-type]
        promote(admin, worse, serving=MODEL, sure=True, reason="seen by hand")  # type: ignore[arg-type]
        assert opened.models.promotions()[-1].reasons == ("seen by hand",)
        (_, entry) = opened.audit.entries(action="promote")
        assert entry.case == "2026-17"
        with pytest.raises(StoreError, match="serves by now"):
            roll_back(admin, serving=MODEL, sure=True, reason="")  # type: ignore[arg-type]
        with pytest.raises(Exception, match="fake cannot serve: its files are not where they were") as raised:
            promote(admin, old, serving=digests["worse"], sure=True, reason="back")  # type: ignore[arg-type]
        assert old.location not in str(raised.value)
        roll_back(admin, serving=digests["worse"], sure=True, reason="")  # type: ignore[arg-type]
        assert opened.models.serving() == MODEL


@pytest.mark.parametrize("role", ["viewer", "reviewer"])
def test_other_roles_cannot_promote(store: Path, digests: dict[str, str], role: str) -> None:
    with Store.open(store) as opened:
        context, model = context_of(opened, role), find_registered(opened, digests["better"])
        with pytest.raises(UsageError, match="requires the role admin"):
            promote(context, model, serving=MODEL, sure=True, reason="mine")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="requires the role admin"):
            roll_back(context, serving=MODEL, sure=True, reason="mine")  # type: ignore[arg-type]
        assert len(opened.models.promotions()) == 1
        assert len(opened.audit.entries(action="promote")) == 1


def test_empty_registry_and_unknown_model_are_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Path
) -> None:
    with Store.open(tmp_path / "empty"):
        pass
    assert "The store has no model yet" in words(run_app(monkeypatch, tmp_path / "empty", page="models"))
    app = run_app(monkeypatch, store, page="models", model="none")
    assert "There is no such model" in words(app)
    assert len(table(app)) == 3
    app = run_app(monkeypatch, store, page="models", model=MODEL)
    assert "Its files are not where they were" in words(app)
    assert table(app, 2)["Reasons"].tolist() == ["the first"]


def test_parents_are_centred_on_their_children() -> None:
    parents = {"a": None, "b": "a", "c": "a", "d": "c", "e": "c", "f": "removed"}
    positions = layout_tree(parents)
    assert positions["a"][0] == 0
    assert {name: positions[name][0] for name in "bcdef"} == {"b": 1, "c": 1, "d": 2, "e": 2, "f": 1}
    assert positions["c"][1] == (positions["d"][1] + positions["e"][1]) / 2
    assert positions["a"][1] == (positions["b"][1] + positions["c"][1]) / 2
    leaves = [positions[name][1] for name in "bdef"]
    assert sorted(leaves) == [0, 1, 2, 3]
    chain: dict[str, str | None] = {str(n): str(n - 1) if n else None for n in range(5000)}
    assert layout_tree(chain)["4999"] == (4999, 0.0)


def test_figures_show_the_values_of_tables(store: Path, digests: dict[str, str]) -> None:
    with Store.open(store) as opened:
        registry = read_registry(opened)
    model = registry.models[digests["better"]]
    assert compared_model(registry, model) == registry.models[MODEL]
    frame = comparison_frame(model, compared_model(registry, model), TEST)
    intervals = interval_figure(frame).data[0]
    assert list(intervals.y) == ["mAP", "Hat"]
    assert list(intervals.x) == [0.5, 8.0]
    assert gate_frame(model)["Measure"].tolist() == ["mAP", "Hat", "Colour"]
    # Differences of another test than the scores are not shown with them.
    assert comparison_frame(model, None, TEST)["95 % from"].isna().all()
    names = [name for trace in lineage_figure(registry, MODEL).data for name in trace.text or ()]
    assert sorted(names) == sorted(registry.name(digest) for digest in digests.values())
