"""Page Review against a real Label Studio: tasks of real people go there, answers come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.support.app_pages import run_app, words
from tests.support.label_studio import annotate, stored_remote_ids, tasks_on_server
from tests.ui.conftest import Archive
from tools.label_studio import Server
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.labels.agreement import predicted_value
from vestigo.store.open import Store
from vestigo_models.schemas.builtin import MARKET_1501

PROJECT = "sampled on the screen"
BUDGET = 6


@pytest.fixture
def configured(label_studio: Server, tmp_path: Path) -> dict[str, Any]:
    token = tmp_path / "label-studio.token"
    token.write_text(label_studio.token)
    token.chmod(0o600)
    return {"label_studio": {"url": label_studio.url, "token_file": str(token)}}


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_sample_is_pushed_annotated_and_pulled(
    archive: Archive,
    configured: dict[str, Any],
    label_studio: Server,
    studio: LabelStudioClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = run_app(monkeypatch, archive.store, page="review", pane="propose", budget=str(BUDGET), configured=configured)
    app.text_input(key="review-name-").set_value(PROJECT).run()
    press(app, "Sample")
    assert f"**{BUDGET} tasks** of" in words(app)
    press(app, f"Push {BUDGET} tasks to Label Studio")
    assert not app.exception
    assert f"Sent: {BUDGET} tasks. The server has {BUDGET}." in words(app)
    with Store.open(archive.store) as store:
        remote = store.review.get_project(PROJECT).remote_id
        assert remote is not None
        ids = stored_remote_ids(store, PROJECT)
        (entry,) = store.audit.entries(action="push")
        tasks = [task for page in store.review.tasks(PROJECT) for task in page]
    assert (entry.user, entry.details["project"], entry.details["tasks"]) == ("the-reviewer", PROJECT, BUDGET)
    assert {name: [number] for name, number in ids.items()} == tasks_on_server(studio, remote)

    predicted = {name: predicted_value(MARKET_1501, name, tasks[0].prediction)[0] for name in MARKET_1501.names}
    other = {"no": "yes", "yes": "no"}[predicted["hat"]]
    annotate(studio, ids[tasks[0].key], predicted | {"hat": other})
    app = run_app(monkeypatch, archive.store, page="review", project=PROJECT, configured=configured)
    press(app, "Pull now")
    assert not app.exception
    assert f"New, changed or deleted: 1 annotation. Annotated: 1 of {BUDGET} tasks. Corrected: 1 value." in words(app)
    assert label_studio.token not in words(app)


def test_unknown_token_is_reported(
    archive: Archive, configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Path(configured["label_studio"]["token_file"])
    token.write_text("0123456789" * 4)
    app = run_app(monkeypatch, archive.store, page="review", pane="propose", budget="6", configured=configured)
    press(app, "Sample")
    press(app, "Push 6 tasks to Label Studio")
    assert not app.exception
    (error,) = app.error
    assert token.read_text() not in error.value
    assert "token" in error.value
    with Store.open(archive.store) as store:
        assert store.audit.entries(action="push") == []
        assert store.review.projects() == []
