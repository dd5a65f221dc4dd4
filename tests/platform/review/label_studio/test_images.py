"""Task images inline, in a served folder and on S3, as a browser loads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.support.label_studio import open_store, record_sample, render_images, stored_remote_ids
from tools.label_studio import Server
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.images import InlineImages, LocalImages, S3Images, open_image_storage
from vestigo.review.label_studio.push import push_tasks
from vestigo.store.open import Store
from vestigo_models.errors import ConfigError, StoreError

pytestmark = pytest.mark.slow


def image_of(studio: LabelStudioClient, task: int) -> str:
    """The address that the browser gets for a task's picture."""
    return str(studio.sdk.tasks.get(str(task)).data["image"])


def shown(studio: LabelStudioClient, store: Store, project: str) -> list[bytes]:
    """What a browser shows for each task, in order."""
    return [studio.get(image_of(studio, id_)).content for _, id_ in sorted(stored_remote_ids(store, project).items())]


def wanted(store: Store, project: str) -> list[bytes]:
    return [jpeg for page in store.review.tasks(project) for jpeg in render_images(page)]


@pytest.mark.parametrize("spec", ["", "inlined", "local:", "s3:", "s3://", "http://host/pictures"])
def test_unknown_image_storage_is_rejected(spec: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--images {spec}: one of inline, local:ROOT, s3://BUCKET/PREFIX$"):
        open_image_storage(spec)


def test_inline_images_are_in_the_tasks(studio: LabelStudioClient, tmp_path: Path, project: str) -> None:
    images = open_image_storage("inline")
    assert isinstance(images, InlineImages)
    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        push_tasks(store, studio, project, render_images, images)
        (task,) = stored_remote_ids(store, project).values()
        assert image_of(studio, task) == images.save("", wanted(store, project)[0])


def test_local_images_are_served(studio: LabelStudioClient, label_studio: Server, tmp_path: Path, project: str) -> None:
    images = open_image_storage(f"local:{label_studio.files}")
    assert isinstance(images, LocalImages)
    with open_store(tmp_path) as store:
        record_sample(store, project, 3)
        push_tasks(store, studio, project, render_images, images)
        push_tasks(store, studio, project, render_images, images)
        assert shown(studio, store, project) == wanted(store, project)
        remote = store.review.get_project(project).remote_id or 0
        (storage,) = studio.sdk.import_storage.local.list(project=remote)
        # "Sync" makes no tasks of the pictures.
        studio.sdk.import_storage.local.sync(storage.id)
        assert len(list(studio.sdk.tasks.list(project=remote))) == 3


def test_unserved_folder_is_reported(
    studio: LabelStudioClient, label_studio: Server, tmp_path: Path, project: str
) -> None:
    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        remedy = rf"LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT={tmp_path}$"
        with pytest.raises(ConfigError, match=remedy):
            push_tasks(store, studio, project, render_images, LocalImages(tmp_path))
        below = label_studio.files / "below"
        with pytest.raises(ConfigError, match=rf"LOCAL_FILES_DOCUMENT_ROOT={below}$"):
            push_tasks(store, studio, project, render_images, LocalImages(below))
        assert store.review.task_counts(project)["drawn"] == 1


@pytest.fixture
def s3() -> Iterator[str]:
    """Address of a local S3."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_s3_images_are_served(
    studio: LabelStudioClient, s3: str, tmp_path: Path, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client(
        "s3", endpoint_url=f"http://{s3}", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket="people")
    options = f"endpoint_override={s3}&scheme=http&region=us-east-1"
    images = open_image_storage(f"s3://mykey:mysecret@people/review?{options}")
    assert isinstance(images, S3Images)
    with open_store(tmp_path) as store:
        record_sample(store, project, 2)
        push_tasks(store, studio, project, render_images, images)
        remote = store.review.get_project(project).remote_id or 0
        (storage,) = studio.sdk.import_storage.s3.list(project=remote)
        assert shown(studio, store, project) == wanted(store, project)
        held = [task.data["image"] for task in studio.sdk.tasks.list(project=remote, resolve_uri=False)]
        assert all(image.startswith("s3://people/review/vestigo/") for image in held)
        assert "mysecret" not in f"{held}{storage}"
        assert storage.presign
        with pytest.raises(StoreError, match="s3://nobody does not exist"):
            push_tasks(store, studio, project, render_images, open_image_storage(f"s3://k:s@nobody/review?{options}"))
