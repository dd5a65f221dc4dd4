"""Push creates each task once; pull copies annotations after edits, deletions and repeats."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.support.flaky_proxy import flaky_proxy
from tests.support.label_studio import (
    OTHER,
    OWNER,
    annotate,
    annotation_result,
    open_store,
    project_state,
    record_sample,
    render_images,
    stored_remote_ids,
    task_key,
    tasks_on_server,
)
from tools.label_studio import Server
from vestigo.review.label_studio import tasks as studio_tasks
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.form import build_prediction
from vestigo.review.label_studio.images import InlineImages
from vestigo.review.label_studio.pull import PullResult, pull, watch
from vestigo.review.label_studio.push import PushResult, push_tasks
from vestigo.review.label_studio.tasks import list_tasks
from vestigo.review.labels.agreement import CANNOT_TELL
from vestigo.store.open import Store
from vestigo_models.errors import WorkError
from vestigo_models.schemas.builtin import MARKET_1501

pytestmark = pytest.mark.slow


def pushed(store: Store, studio: LabelStudioClient, project: str, count: int) -> int:
    """Bring `count` tasks to the server; the project's id there."""
    record_sample(store, project, count)
    push_tasks(store, studio, project, render_images, InlineImages())
    remote = store.review.get_project(project).remote_id
    assert remote is not None
    return remote


def predicted(store: Store, project: str, number: int, attribute: str) -> str:
    for page in store.review.tasks(project):
        for task in page:
            if task.key == task_key(number):
                shares = np.array(task.prediction[MARKET_1501.slice(attribute)])
                return MARKET_1501[attribute].values[int(shares.argmax())]
    raise AssertionError(number)


def draft(studio: LabelStudioClient, task: int, answers: dict[str, str]) -> None:
    """Begin to answer a task, as the browser does while somebody works."""
    headers = studio.sdk._client_wrapper.get_headers()
    begun = studio.http.post(
        f"{studio.url}/api/tasks/{task}/drafts",
        json={"result": annotation_result(answers), "lead_time": 1},
        headers=headers,
    )
    assert begun.status_code == 201


def test_push_creates_each_task_once(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        record_sample(store, project, 5)
        reports: list[tuple[int, int]] = []
        first = push_tasks(
            store, studio, project, render_images, InlineImages(), lambda *at: reports.append(at), chunk=2
        )
        assert first == PushResult(tasks=5, created=5)
        assert reports == [(2, 5), (4, 5), (5, 5)]
        assert push_tasks(store, studio, project, render_images, InlineImages()) == PushResult(tasks=5, created=0)
        record_sample(store, project, 3, start=5)
        assert push_tasks(store, studio, project, render_images, InlineImages()) == PushResult(tasks=8, created=3)
        there = tasks_on_server(studio, store.review.get_project(project).remote_id or 0)
        assert {name: ids[0] for name, ids in there.items()} == stored_remote_ids(store, project)
        assert [len(ids) for ids in there.values()] == [1] * 8
        # Reviewers get them in the order of the draw: that of their ids.
        assert sorted(there, key=lambda name: there[name][0]) == [task_key(number) for number in range(8)]


def test_tasks_sent_before_a_crash_are_found(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        remote = pushed(store, studio, project, 2)
        record_sample(store, project, 2, start=2)
        shares = (0.5,) * MARKET_1501.classes
        lost = {"image": "data:,", "about": "", **{f"says_{name}": "" for name in MARKET_1501.names}}
        task = {
            "data": lost,
            "meta": {"vestigo_key": task_key(2)},
            "predictions": [build_prediction(MARKET_1501, shares, "m")],
        }
        studio.sdk.projects.import_tasks(remote, request=[task])
        assert push_tasks(store, studio, project, render_images, InlineImages()) == PushResult(tasks=4, created=1)
        assert [len(ids) for ids in tasks_on_server(studio, remote).values()] == [1] * 4


def test_duplicate_tasks_without_annotations_are_removed(
    studio: LabelStudioClient, tmp_path: Path, project: str, other_annotator: int
) -> None:
    with open_store(tmp_path) as store:
        remote = pushed(store, studio, project, 5)
        first = stored_remote_ids(store, project)
        whole = list(studio.sdk.tasks.list(project=remote))
        studio.sdk.projects.import_tasks(
            remote, request=[{"data": task.data, "meta": task.meta} for task in whole for _ in range(2)]
        )
        copies = tasks_on_server(studio, remote)
        assert [len(ids) for ids in copies.values()] == [3] * 5
        # 0: nobody. 1: on a copy. 2: on two of them. 3: skipped on a copy: work, and no answer. 4: begun on a copy.
        annotate(studio, copies[task_key(1)][1], {"hat": "yes"})
        annotate(studio, copies[task_key(2)][0], {"hat": "yes"})
        annotate(studio, copies[task_key(2)][2], {"hat": "no"}, other_annotator)
        annotate(studio, copies[task_key(3)][2], {}, was_cancelled=True)
        draft(studio, copies[task_key(4)][1], {"hat": "yes"})
        result = pull(store, studio, project)
        assert (result.tasks, result.reviewed, result.pulled) == (5, 2, 3)
        assert tasks_on_server(studio, remote) == {
            task_key(0): [first[task_key(0)]],
            task_key(1): [copies[task_key(1)][1]],
            task_key(2): [copies[task_key(2)][0], copies[task_key(2)][2]],
            task_key(3): [copies[task_key(3)][2]],
            task_key(4): copies[task_key(4)][:2],
        }
        assert stored_remote_ids(store, project)[task_key(1)] == copies[task_key(1)][1]
        assert project_state(store, project)[task_key(2)][1] == [(OWNER, {"hat": "yes"}), (OTHER, {"hat": "no"})]
        assert push_tasks(store, studio, project, render_images, InlineImages()).created == 0
        assert pull(store, studio, project).pulled == 0


def test_pull_copies_the_annotations_of_the_server(
    studio: LabelStudioClient, tmp_path: Path, project: str, other_annotator: int
) -> None:
    with open_store(tmp_path) as store:
        remote = pushed(store, studio, project, 5)
        ids = stored_remote_ids(store, project)
        assert pull(store, studio, project) == PullResult(tasks=5)
        prediction = predicted(store, project, 0, "hat")
        other = "yes" if prediction == "no" else "no"
        before = datetime.now(UTC).replace(microsecond=0)
        corrected = annotate(studio, ids[task_key(0)], {"hat": other, "gender": CANNOT_TELL})
        doubled = annotate(studio, ids[task_key(1)], {"hat": "yes"})
        annotate(studio, ids[task_key(1)], {"hat": "no"}, other_annotator)
        annotate(studio, ids[task_key(2)], {"hat": "no"}, was_cancelled=True)
        result = pull(store, studio, project)
        assert (result.reviewed, result.pulled, result.corrections) == (2, 3, 1)
        assert result.conflicts == [f"task {ids[task_key(1)]}, hat: no ({OTHER}), yes ({OWNER})"]
        (kept,) = store.annotations.get(project, [task_key(0)])[task_key(0)]
        assert (kept.remote_id, kept.annotator) == (corrected, OWNER)
        assert kept.answers == {"hat": other, "gender": CANNOT_TELL}
        assert before <= kept.answered <= datetime.now(UTC)
        assert pull(store, studio, project).pulled == 0

        studio.sdk.annotations.update(corrected, result=annotation_result({"hat": prediction}))
        studio.sdk.annotations.delete(doubled)
        result = pull(store, studio, project)
        assert (result.pulled, result.corrections, result.conflicts) == (2, 0, [])
        assert project_state(store, project)[task_key(0)] == ("pushed", [(OWNER, {"hat": prediction})])
        assert project_state(store, project)[task_key(1)] == ("pushed", [(OTHER, {"hat": "no"})])
        assert store.review.get_project(project).remote_id == remote


def test_pull_follows_deleted_and_restored_tasks(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        remote = pushed(store, studio, project, 3)
        ids = stored_remote_ids(store, project)
        annotate(studio, ids[task_key(0)], {"hat": "yes"})
        assert pull(store, studio, project).reviewed == 1
        (saved,) = (task for task in studio.sdk.tasks.list(project=remote, fields="all") if task.id == ids[task_key(0)])
        studio.sdk.tasks.delete(str(ids[task_key(0)]))
        result = pull(store, studio, project)
        assert (result.tasks, result.deleted, result.reviewed) == (2, 1, 0)
        assert project_state(store, project)[task_key(0)] == ("deleted", [])
        # What the server deleted stays deleted: a push brings it back as little as a second pull finds it gone again.
        assert push_tasks(store, studio, project, render_images, InlineImages()).created == 0
        assert pull(store, studio, project).deleted == 0
        back = [
            {"result": annotation["result"], "completed_by": annotation["completed_by"]}
            for annotation in saved.annotations
        ]
        studio.sdk.projects.import_tasks(
            remote, request=[{"data": saved.data, "meta": saved.meta, "annotations": back}]
        )
        result = pull(store, studio, project)
        assert (result.tasks, result.deleted, result.reviewed) == (3, 0, 1)
        assert project_state(store, project)[task_key(0)] == ("pushed", [(OWNER, {"hat": "yes"})])


def test_pull_skips_annotations_of_another_form(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        pushed(store, studio, project, 3)
        ids = stored_remote_ids(store, project)
        annotate(studio, ids[task_key(0)], {"hat": "yes"})
        wrong = annotate(studio, ids[task_key(1)], {"hat": "maybe"})
        studio.sdk.tasks.delete(str(ids[task_key(2)]))
        result = pull(store, studio, project)
        (line,) = result.skipped
        assert line.startswith(f"annotation {wrong} of task {ids[task_key(1)]}, hat=maybe: not one of no, yes")
        assert (result.reviewed, result.deleted) == (1, 1)
        assert project_state(store, project) == {
            task_key(0): ("pushed", [(OWNER, {"hat": "yes"})]),
            task_key(1): ("pushed", []),
            task_key(2): ("deleted", []),
        }
        studio.sdk.annotations.update(wrong, result=annotation_result({"hat": "no"}))
        result = pull(store, studio, project)
        assert (result.reviewed, result.skipped) == (2, [])


def test_listing_omits_images_and_is_complete_during_deletions(
    studio: LabelStudioClient, tmp_path: Path, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio_tasks, "PAGE", 3)
    with open_store(tmp_path) as store:
        remote = pushed(store, studio, project, 10)
        ids = sorted(stored_remote_ids(store, project).values())
        seen = []
        for task in list_tasks(studio, remote):
            # Pages that were counted off would now jump over as many tasks as went before them.
            if len(seen) < 3:
                studio.sdk.tasks.delete(str(task.id))
            seen.append(task.id)
        assert seen == ids
        annotate(studio, ids[9], {"hat": "yes"})
        sizes: list[int] = []

        def note(response: httpx.Response) -> None:
            response.read()
            sizes.append(len(response.content))

        studio.http.event_hooks = {"response": [note]}
        assert [len(task.annotations) for task in list_tasks(studio, remote, annotations=True)] == [0] * 6 + [1]
        assert sum(sizes) < 7 * 700


def test_watch_waits_for_an_unreachable_server(
    studio: LabelStudioClient, label_studio: Server, tmp_path: Path, project: str
) -> None:
    until = threading.Event()
    with open_store(tmp_path) as store, flaky_proxy(label_studio.url, seed=0) as proxy:
        proxy.settle()
        with LabelStudioClient.connect(proxy.url, label_studio.token, patience=0.5) as through:
            pushed(store, through, project, 1)

            def comes_back(error: WorkError) -> None:
                assert str(error).startswith(f"server {proxy.url} does not answer (HTTP 503), tried for 0.5 seconds")
                proxy.away = False

            result = watch(store, through, project, every=0.01, until=until, on_error=comes_back)
            assert next(result).reviewed == 0
            annotate(studio, stored_remote_ids(store, project)[task_key(0)], {"hat": "yes"})
            assert next(result).reviewed == 1
            proxy.away = True
            assert next(result).reviewed == 1
            assert not proxy.away
            until.set()
            assert list(result) == []
