"""Page Review: what are sampled and why, how far it is, and tracklets corrected in place by those who may."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.support.app_pages import frame, run_app, words
from tests.support.fake_pipeline import MODEL, START
from tests.support.review_archive import PER_TRACKLET, SCHEMA
from tests.support.reviewed_store import DRAWN, PEOPLE, SERVER, reviewed_store
from vestigo.resolve import find_registered
from vestigo.review.labels.agreement import annotated_tasks
from vestigo.review.labels.corrections import PROJECT
from vestigo.review.labels.sets import save_label_set
from vestigo.review.sampling.sample import SamplingRequest, explain_sample, sample_tasks
from vestigo.review.sampling.strategies import find_strategy
from vestigo.sightings.index import BrowseIndex
from vestigo.sightings.records import ALL_SIGHTINGS
from vestigo.store.open import Store
from vestigo.store.review.records import Annotation
from vestigo_models.errors import UsageError
from vestigo_ui.app.context import PageContext
from vestigo_ui.app.pages.review.corrections import save
from vestigo_ui.app.pages.review.page import agreed, over_time
from vestigo_ui.app.pages.review.server import fetch, send, send_waiting
from vestigo_ui.web.auth.identity import User
from vestigo_ui.web.auth.users import Role
from vestigo_ui.web.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return reviewed_store(tmp_path / "store")


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def sighting(ref: Path, place: int = 0) -> Any:
    with Store.open(ref) as store, BrowseIndex.open(store) as index:
        return index.page(MODEL, ALL_SIGHTINGS, offset=place, limit=1)[0]


def context_for(store: Store, role: str) -> PageContext:
    return PageContext(
        store=store,
        index=None,  # type: ignore[arg-type]
        user=User(name=f"the-{role}", role=Role(role), session="test"),
        settings=Settings(),
        case=None,
        authority=None,
        blurred=False,
    )


def test_progress_counts_annotations(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    with Store.open(store) as opened:
        task = next(opened.review.tasks("p"))[1]
        held = opened.annotations.get("p", [task.key])[task.key]
        other = {**held[0].answers, "hat": "no" if held[0].answers["hat"] == "yes" else "yes"}
        opened.annotations.replace("p", {task.key: [*held, Annotation(900, "ben", START, other)]})
    app = run_app(monkeypatch, store, page="review", role="viewer")
    text = words(app)
    assert f"{DRAWN} tasks sampled · {DRAWN} annotated" in text
    assert "Annotators agree in 50.0 % of 2 pairs of annotations; 1 differ." in text
    assert "ana 40, ben 1" in text
    rows = frame(app).set_index("Attribute")
    assert rows.loc["Hat", ["Annotated", "Cannot tell", "Annotated twice", "Agreed (%)"]].tolist() == [
        DRAWN - 1,
        1,
        1,
        0,
    ]
    batch = frame(app, 1).iloc[0]
    assert (batch["Tasks"], batch["Annotated"], batch["Population"]) == (DRAWN, DRAWN, PEOPLE)
    conflict = frame(app, 2).iloc[0]
    assert conflict["Annotations"].startswith("hat: ")
    assert conflict["Label Studio"] == f"{SERVER}/projects/7/data?task={task.remote_id}"
    assert conflict["Sighting"] == f"/review?sighting={task.crops[0]}"
    assert f"{SERVER}/projects/7/data" in [button.proto.url for button in app.get("link_button")]
    assert not app.code


def test_command_is_shown_without_server(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    app = run_app(monkeypatch, store, page="review")
    assert app.code[0].value == "vestigo label pull --store STORE --project p"
    app = run_app(monkeypatch, store, page="review", pane="propose", budget="5")
    press(app, "Sample")
    command = "vestigo label push --store STORE --project p --strategy entropy --budget 5 --unit tracklet"
    assert app.code[0].value == command
    assert "[label_studio]" in app.code[1].value


def test_unreachable_server_is_reported(monkeypatch: pytest.MonkeyPatch, store: Path, tmp_path: Path) -> None:
    configured = {"label_studio": {"url": "http://127.0.0.1:9", "token_file": str(tmp_path / "none")}}
    app = run_app(monkeypatch, store, page="review", configured=configured)
    press(app, "Pull now")
    (error,) = app.error
    assert "the token of Label Studio cannot be read" in error.value
    assert str(tmp_path) not in error.value


def test_sample_is_shown_before_it_is_recorded(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    app = run_app(monkeypatch, store, page="review", pane="propose", strategy="least-confident", budget="7")
    assert find_strategy("least-confident").help in words(app)
    press(app, "Sample")
    text = words(app)
    assert f"**7 tasks** of {PEOPLE} are sampled" in text
    wish = SamplingRequest(strategy="least-confident", budget=7)
    with Store.open(store) as opened:
        sample = sample_tasks(opened, "p", find_registered(opened, MODEL), wish)
        entry = opened.audit.entries(newest=True, action="view")[0]
        assert entry.details["shown"] == [reason.task.crops[0] for reason in explain_sample(sample, wish)]
        assert len(opened.review.samples("p")) == 1
    # Another wish waits for its own press.
    app.number_input(key="budget").set_value(8).run()
    assert "are sampled" not in words(app)


def test_tracklet_is_corrected_twice(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    shown = sighting(store)
    app = run_app(monkeypatch, store, page="review", sighting=shown.crop)
    assert f"{PER_TRACKLET} crops" in words(app)
    hat = app.selectbox(key=f"review-answer-{shown.crop}-hat")
    assert hat.value == shown.attributes["hat"]
    assert hat.label.startswith(f"Hat: {shown.attributes['hat']}, ")
    other = "no" if hat.value == "yes" else "yes"
    hat.select(other)
    press(app, "Save")
    assert "Saved: 1 of 2 attributes differ from the predictions." in words(app)
    assert frame(app)["Hat"].tolist() == [other]
    app.selectbox(key=f"review-answer-{shown.crop}-hat").select("cannot tell")
    press(app, "Save")
    assert frame(app)["Hat"].tolist() == ["cannot tell"]
    with Store.open(store) as opened:
        (annotated,) = annotated_tasks(opened, PROJECT)
        assert annotated.annotations["the-reviewer"]["hat"] == "cannot tell"
        assert len(opened.audit.entries(action="correct")) == 2
        save_label_set(opened)
    app = run_app(monkeypatch, store, page="review", project=PROJECT)
    assert "These are corrections" in words(app)
    app = run_app(monkeypatch, store, page="review", pane="sets")
    assert frame(app)["Projects"].tolist() == [f"{PROJECT}, p"]


def test_viewer_cannot_review(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    shown = sighting(store)
    app = run_app(monkeypatch, store, page="review", role="viewer", sighting=shown.crop)
    assert frame(app)["Predicted"].tolist() == list(shown.attributes.values())
    assert not app.selectbox
    assert "Save" not in [button.label for button in app.button]
    with Store.open(store) as opened:
        context, model = context_for(opened, "viewer"), find_registered(opened, MODEL)
        for action in (
            lambda: save(context, model, [], {"hat": "yes"}),
            lambda: fetch(context, "p", lambda done, total: None),
            lambda: send_waiting(context, "p", lambda done, total: None),
            lambda: send(context, "p", model, SamplingRequest(budget=1), None, lambda done, total: None),  # type: ignore[arg-type]
        ):
            with pytest.raises(UsageError, match="requires the role reviewer"):
                action()
        assert [project.name for project in opened.review.projects()] == ["p"]


def test_sightings_are_sorted_by_confidence(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    app = run_app(monkeypatch, store, page="review", pane="correct", attribute="colour")
    assert not app.exception
    with Store.open(store) as opened, BrowseIndex.open(opened) as index:
        first = index.by_confidence(MODEL, ALL_SIGHTINGS, "colour", first="least", offset=0, limit=48)
        entry = opened.audit.entries(newest=True, action="view")[0]
    assert entry.details["shown"] == [each.crop for each in first]


def test_store_without_tasks_and_invalid_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty"):
        pass
    assert "The store has no crops yet" in words(run_app(monkeypatch, tmp_path / "empty", page="review"))
    plain = reviewed_store(tmp_path / "plain", draw=False)
    app = run_app(monkeypatch, plain, page="review", project="x", pane="y")
    assert "There are no tasks yet" in words(app)
    assert 'Unknown project "x". Choose one of: none yet' in words(app)
    app = run_app(monkeypatch, plain, page="review", sighting="none")
    assert "There is no such sighting" in words(app)
    app = run_app(monkeypatch, plain, page="review", pane="propose", strategy="x", budget="many", about="shoes")
    assert not app.exception
    assert 'Unknown strategy "x"' in words(app)
    assert 'Unknown attribute "shoes"' in words(app)
    assert 'budget "many" is not a whole number' in words(app)
    press(app, "Sample")
    assert "are sampled" in words(app)
    app = run_app(monkeypatch, plain, page="review", pane="sets")
    assert "There are no label sets yet" in words(app)


def test_figures_and_shares() -> None:
    days = {date(2026, 5, 1): 3, date(2026, 5, 4): 2}
    drawn = over_time(days, 10).data[0]
    assert (list(drawn.x), list(drawn.y)) == (list(days), [3, 5])
    assert (agreed(4, 1), agreed(0, 0)) == (75.0, None)
    assert len(SCHEMA) == 2
