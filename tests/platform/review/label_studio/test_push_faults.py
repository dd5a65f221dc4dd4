"""Push and pull after a kill at any fault point and over an unreliable network."""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.flaky_proxy import flaky_proxy
from tests.support.forkserver import preloaded_context
from tests.support.label_studio import (
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
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.images import InlineImages
from vestigo.review.label_studio.pull import pull
from vestigo.review.label_studio.push import PushResult, push_tasks
from vestigo.store import faults
from vestigo.store.open import Store

pytestmark = pytest.mark.slow

TASKS = 12
FORKS = preloaded_context("vestigo.review.label_studio.pull", "tests.support.label_studio")


def review(studio: LabelStudioClient, ids: Mapping[str, int], other: int) -> None:
    """What reviewers do in the meantime, to tasks by their keys: answers, edits, deletions."""
    done = {number: annotate(studio, ids[task_key(number)], {"hat": "yes", "bag": "no"}) for number in range(6)}
    annotate(studio, ids[task_key(1)], {"hat": "no"}, other)
    studio.sdk.annotations.update(done[2], result=annotation_result({"hat": "no"}))
    studio.sdk.annotations.delete(done[3])
    studio.sdk.tasks.delete(str(ids[task_key(4)]))
    annotate(studio, ids[task_key(7)], {}, was_cancelled=True)


def expected() -> dict[str, tuple[str, list[tuple[str, dict[str, str]]]]]:
    """What the store holds after `review`."""
    ana, ben = "ana@example.org", "ben@example.org"
    both = {"hat": "yes", "bag": "no"}
    expected = {0: [(ana, both)], 1: [(ana, both), (ben, {"hat": "no"})], 2: [(ana, {"hat": "no"})], 5: [(ana, both)]}
    return {task_key(n): ("deleted" if n == 4 else "pushed", expected.get(n, [])) for n in range(TASKS)}


def require_end(store: Store, studio: LabelStudioClient, project: str) -> None:
    assert project_state(store, project) == expected()
    there = tasks_on_server(studio, store.review.get_project(project).remote_id or 0)
    assert {name: ids for name, ids in there.items() if len(ids) > 1} == {}
    assert {name: ids[0] for name, ids in there.items()} == stored_remote_ids(store, project)
    assert [listed.title for listed in studio.sdk.projects.list(title=project)] == [project]


def test_review_without_faults(studio: LabelStudioClient, tmp_path: Path, project: str, other_annotator: int) -> None:
    with open_store(tmp_path) as store:
        record_sample(store, project, TASKS)
        push_tasks(store, studio, project, render_images, InlineImages())
        review(studio, stored_remote_ids(store, project), other_annotator)
        pull(store, studio, project)
        require_end(store, studio, project)


@pytest.mark.parametrize("seed", range(2))
def test_review_over_an_unreliable_network(
    studio: LabelStudioClient, label_studio: Server, tmp_path: Path, project: str, other_annotator: int, seed: int
) -> None:
    with open_store(tmp_path) as store, flaky_proxy(label_studio.url, seed) as proxy:
        record_sample(store, project, TASKS)
        with LabelStudioClient.connect(proxy.url, label_studio.token, patience=120) as through:
            assert push_tasks(store, through, project, render_images, InlineImages(), chunk=2).tasks == TASKS
            # What arrives when the command has ended, twice or late, the next one tidies up.
            proxy.wait_for_late()
            assert push_tasks(store, through, project, render_images, InlineImages(), chunk=2) == PushResult(
                tasks=TASKS, created=0
            )
            review(studio, stored_remote_ids(store, project), other_annotator)
            pull(store, through, project)
            assert project_state(store, project) == expected()
            proxy.settle()
            pull(store, through, project)
            require_end(store, studio, project)
        assert proxy.fates["lost answer"] > 3
        assert proxy.fates["repeated"] > 0


@pytest.mark.parametrize("seed", range(2, 4))
def test_annotations_of_duplicate_tasks_are_kept(
    studio: LabelStudioClient, label_studio: Server, tmp_path: Path, project: str, other_annotator: int, seed: int
) -> None:
    with open_store(tmp_path) as store, flaky_proxy(label_studio.url, seed) as proxy:
        record_sample(store, project, TASKS)
        with LabelStudioClient.connect(proxy.url, label_studio.token, patience=120) as through:
            push_tasks(store, through, project, render_images, InlineImages(), chunk=2)
            review(studio, stored_remote_ids(store, project), other_annotator)
            pull(store, through, project)
            proxy.settle()
            pull(store, through, project)
            pull(store, through, project)
        label = store.review.get_project(project)
        held = project_state(store, project)
        # Task 4 was deleted; a copy of it that came after that is a task of the server like any other.
        back = task_key(4) in tasks_on_server(studio, label.remote_id or 0)
        assert held == expected() | {task_key(4): ("pushed" if back else "deleted", [])}
        assert {name: ids[0] for name, ids in tasks_on_server(studio, label.remote_id or 0).items()} == {
            name: id_ for name, id_ in stored_remote_ids(store, project).items() if held[name][0] == "pushed"
        }
        assert [len(ids) for ids in tasks_on_server(studio, label.remote_id or 0).values()] == [1] * (TASKS - 1 + back)


def test_push_resumes_after_kill_at_any_fault_point(
    studio: LabelStudioClient, label_studio: Server, tmp_path: Path, project: str
) -> None:
    for point in itertools.count(1):
        name = f"{project} {point}"
        with open_store(tmp_path) as store:
            record_sample(store, name, 5)
        dead = killed(push_and_die, tmp_path, label_studio, name, point)
        with open_store(tmp_path) as store:
            push_tasks(store, studio, name, render_images, InlineImages(), chunk=2)
            assert project_state(store, name) == {task_key(number): ("pushed", []) for number in range(5)}
            there = tasks_on_server(studio, store.review.get_project(name).remote_id or 0)
            assert there == {name: [id_] for name, id_ in stored_remote_ids(store, name).items()}
            assert [listed.title for listed in studio.sdk.projects.list(title=name)] == [name]
        if not dead:
            break
    assert point > 10


def test_pull_resumes_after_kill_at_any_fault_point(
    studio: LabelStudioClient, label_studio: Server, tmp_path: Path, project: str, other_annotator: int
) -> None:
    with open_store(tmp_path / "0") as store:
        record_sample(store, project, TASKS)
        push_tasks(store, studio, project, render_images, InlineImages())
        ids = stored_remote_ids(store, project)
        review(studio, ids, other_annotator)
        # So that ids have something to be reconciled with.
        store.review.mark_pushed(project, {task_key(0): ids[task_key(1)]})
    for point in itertools.count(1):
        folder = shutil.copytree(tmp_path / "0", tmp_path / str(point))
        dead = killed(pull_and_die, folder, label_studio, project, point)
        with open_store(folder) as store:
            pull(store, studio, project)
            require_end(store, studio, project)
        if not dead:
            break
    assert point > 5


def killed(work: object, folder: Path, server: Server, project: str, point: int) -> bool:
    """Do work in a process of its own; whether it was killed."""
    process = FORKS.Process(target=work, args=(folder, server.url, server.token, project, point))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def push_and_die(folder: Path, url: str, token: str, project: str, point: int) -> None:
    """Push in small chunks, killed at a fault point."""
    faults.install(faults.die_at(point))
    with open_store(folder) as store, LabelStudioClient.connect(url, token) as studio:
        push_tasks(store, studio, project, render_images, InlineImages(), chunk=2)


def pull_and_die(folder: Path, url: str, token: str, project: str, point: int) -> None:
    """Pull, killed at a fault point."""
    faults.install(faults.die_at(point))
    with open_store(folder) as store, LabelStudioClient.connect(url, token) as studio:
        pull(store, studio, project)
