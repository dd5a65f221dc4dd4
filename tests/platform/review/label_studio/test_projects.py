"""The server's project: created once, found again, rejected if its form differs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.support.label_studio import (
    MODEL,
    open_store,
    record_sample,
    render_images,
    stored_remote_ids,
    task_key,
    tasks_on_server,
)
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.form import build_form
from vestigo.review.label_studio.images import InlineImages
from vestigo.review.label_studio.projects import open_project, project_mark, project_title
from vestigo.review.label_studio.pull import pull
from vestigo.review.label_studio.push import push_tasks
from vestigo_models.errors import ConfigError, StoreError
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501

pytestmark = pytest.mark.slow


def titled(studio: LabelStudioClient, title: str) -> list[int]:
    return [each.id for each in studio.sdk.projects.list(title=title) if each.title == title]


def test_project_is_created_once_with_predictions(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        label = store.review.get_project(project)
        remote = open_project(studio, label)
        # The store does not know of it yet, as after a crash.
        assert open_project(studio, label) == remote
        push_tasks(store, studio, project, render_images, InlineImages())
        there = studio.sdk.projects.get(remote)
        assert titled(studio, project) == [remote]
        assert (there.show_collab_predictions, there.model_version) == (True, f"small {MODEL[:12]}")
        assert project_mark(label) in there.description
        linked = store.review.get_project(project)
        assert (linked.server, linked.remote_id) == (studio.url, remote)
        (task,) = studio.sdk.tasks.list(project=remote, fields="all")
        assert [each.model_version for each in task.predictions] == [f"small {MODEL[:12]}"]


def test_predictions_of_newest_model_are_preselected(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        push_tasks(store, studio, project, render_images, InlineImages())
        remote = store.review.get_project(project).remote_id
        record_sample(store, project, 1, start=1, model="b" * 64)
        push_tasks(store, studio, project, render_images, InlineImages())
        assert studio.sdk.projects.get(remote).model_version == f"small {'b' * 12}"
        studio.sdk.projects.update(remote, model_version=f"small {MODEL[:12]}")
        push_tasks(store, studio, project, render_images, InlineImages())
        assert studio.sdk.projects.get(remote).model_version == f"small {'b' * 12}"
        # What nobody shows any more cannot be preselected.
        record_sample(store, project, 1, start=2, model="c" * 64)
        push_tasks(store, studio, project, render_images, InlineImages())
        studio.sdk.projects.update(remote, model_version=f"small {MODEL[:12]}")
        studio.sdk.tasks.delete(str(stored_remote_ids(store, project)[task_key(2)]))
        assert push_tasks(store, studio, project, render_images, InlineImages()).created == 0


def test_duplicate_projects_are_removed_without_losing_tasks(
    studio: LabelStudioClient, tmp_path: Path, project: str
) -> None:
    with open_store(tmp_path) as store:
        record_sample(store, project, 2)
        push_tasks(store, studio, project, render_images, InlineImages())
        label = store.review.get_project(project)
        there = studio.sdk.projects.get(label.remote_id)
        twins = [
            studio.sdk.projects.create(title=project, description=there.description, label_config=there.label_config).id
            for _ in range(2)
        ]
        assert len(titled(studio, project)) == 3
        assert open_project(studio, dataclasses.replace(label, remote_id=None)) == label.remote_id
        assert not {*twins} & {*titled(studio, project)}
        late = studio.sdk.projects.create(title=project, description=there.description, label_config=there.label_config)
        push_tasks(store, studio, project, render_images, InlineImages())
        assert late.id not in titled(studio, project)
        assert len(tasks_on_server(studio, label.remote_id)) == 2


def test_foreign_project_is_not_changed(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    theirs = studio.sdk.projects.create(title=project, label_config=build_form(MARKET_1501))
    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        with pytest.raises(ConfigError, match=rf"\(id {theirs.id}\) that is not of this store: push under another"):
            push_tasks(store, studio, project, render_images, InlineImages())
        with pytest.raises(ConfigError, match="is on no server yet: `vestigo label push` creates it there"):
            pull(store, studio, project)
    assert list(studio.sdk.tasks.list(project=theirs.id)) == []


def test_project_title_has_valid_length(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        for number, name in enumerate(("x", f"{project} of a very long archive of very many cameras")):
            record_sample(store, name, 1, start=number)
            assert push_tasks(store, studio, name, render_images, InlineImages()).created == 1
            assert push_tasks(store, studio, name, render_images, InlineImages()).tasks == 1
            label = store.review.get_project(name)
            there = studio.sdk.projects.get(label.remote_id or 0)
            assert there.title == project_title(label)
            studio.sdk.projects.delete(there.id)


def test_edited_form_is_reported_before_writing(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        push_tasks(store, studio, project, render_images, InlineImages())
        remote = store.review.get_project(project).remote_id
        edited = build_form(MARKET_1501).replace('name="hat"', 'name="cap"')
        studio.sdk.projects.update(remote, label_config=edited)
        record_sample(store, project, 1, start=1)
        for command in (
            lambda: push_tasks(store, studio, project, render_images, InlineImages()),
            lambda: pull(store, studio, project),
        ):
            with pytest.raises(ConfigError, match=r"\(hat is missing\): undo it under Settings > Labeling"):
                command()
        assert len(tasks_on_server(studio, remote)) == 1
        studio.sdk.projects.update(remote, label_config=build_form(MARKET_1501).replace('size="6"', 'size="3"'))
        assert push_tasks(store, studio, project, render_images, InlineImages()).tasks == 2


def test_renamed_attribute_is_reported(tmp_path: Path, project: str) -> None:
    renamed = dataclasses.replace(MARKET_1501["hat"], name="headwear")
    schema = AttributeSchema("own", tuple(renamed if a.name == "hat" else a for a in MARKET_1501.attributes))
    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        with pytest.raises(
            StoreError, match=r"only the project has hat; only the model has headwear.*a project of another name"
        ):
            record_sample(store, project, 1, start=1, schema=schema)


def test_missing_project_is_reported(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        push_tasks(store, studio, project, render_images, InlineImages())
        remote = store.review.get_project(project).remote_id
        assert remote is not None
        studio.sdk.projects.update(remote, title="renamed there")
        assert pull(store, studio, project).tasks == 1
        studio.sdk.projects.delete(remote)
        with pytest.raises(ConfigError, match=rf"\(id {remote}\) is no longer on server .*what was pulled is kept"):
            pull(store, studio, project)
        assert store.review.task_counts(project)["pushed"] == 1
        store.review.link_project(project, "http://elsewhere.example", remote)
        with pytest.raises(ConfigError, match=r"is on server http://elsewhere.example, not on .*--url"):
            push_tasks(store, studio, project, render_images, InlineImages())
