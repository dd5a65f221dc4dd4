"""A real Label Studio server for the tests, stores with sampled tasks, and annotations of these tasks."""

from __future__ import annotations

import io
import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tools import label_studio as tool
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.form import IMAGE_TAG
from vestigo.store.open import Store
from vestigo.store.parquet.schemas import DRAW
from vestigo.store.review.records import LabelTask, NewTask, SamplingDesign
from vestigo_models.schemas.attributes import AttributeSchema
from vestigo_models.schemas.builtin import MARKET_1501

MODEL = "a" * 64
OWNER, OTHER = "ana@example.org", "ben@example.org"
_names = itertools.count(1)


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tool.Server]:
    """Run a server for this session; the first run on a machine installs it."""
    data = tmp_path_factory.mktemp("label-studio")
    token, password = secrets.token_hex(20), secrets.token_hex(8)
    # The server has its own S3 credentials where the tests of S3 have theirs; no test sends it any.
    aws = {"AWS_ACCESS_KEY_ID": "server", "AWS_SECRET_ACCESS_KEY": "server", "AWS_EC2_METADATA_DISABLED": "true"}
    # The S3 of the tests is on the loopback, from which the server would refuse to fetch.
    aws["SSRF_PROTECTION_ENABLED"] = "false"
    with tool.running(
        tool.install(), data, port=tool.free_port(), user=OWNER, password=password, token=token, extra=aws
    ) as server:
        yield server


@pytest.fixture
def studio(label_studio: tool.Server) -> Iterator[LabelStudioClient]:
    """Open a connection to the server."""
    with LabelStudioClient.connect(label_studio.url, label_studio.token, patience=10) as studio:
        yield studio


@pytest.fixture
def project() -> str:
    """Return the name of a project that is new on this server."""
    return f"project {next(_names)} {secrets.token_hex(4)}"


@pytest.fixture
def other_annotator(studio: LabelStudioClient) -> int:
    """Return the id of a second annotator on the server."""
    for user in studio.sdk.users.list():
        if user.email == OTHER:
            return int(user.id)
    return int(studio.sdk.users.create(email=OTHER, username="ben").id)


def record_sample(
    store: Store, project: str, count: int, *, start: int = 0, schema: AttributeSchema = MARKET_1501, model: str = MODEL
) -> None:
    """Record a sample of `count` tasks with keys from number `start` on."""
    if model not in {known.digest for known in store.models.list()}:
        store.models.register(model, name="small", location="here")
    rng = np.random.default_rng(start)
    store.review.ensure_project(project, schema)
    tasks = [
        NewTask(
            key=task_key(number),
            source="archive",
            tracklet=f"t{number}",
            camera=f"c{1 + number % 2}",
            time=None,
            pid=None,
            crops=(f"crop{number}",),
            prediction=tuple(float(p) for a in schema.attributes for p in rng.dirichlet(np.ones(len(a.values)))),
        )
        for number in range(start, start + count)
    ]
    rows = pa.RecordBatch.from_pydict({"task": [t.key for t in tasks], "probability": [1.0] * count}, schema=DRAW)
    design = SamplingDesign(model=model, strategy="random", unit="crop", budget=count, seed=0, population=count)
    store.review.save_sample(project, design, tasks, [rows])


def task_key(number: int) -> str:
    """Return the key of task `number`."""
    return f"{number:040x}"


def render_images(tasks: Sequence[LabelTask]) -> list[bytes]:
    """Return a small JPEG for each task, determined by its key."""
    images = []
    for task in tasks:
        file = io.BytesIO()
        Image.new("RGB", (64, 32), (int(task.key, 16) % 255, 90, 90)).save(file, "JPEG")
        images.append(file.getvalue())
    return images


def annotation_result(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return an annotation in Label Studio's format."""
    return [
        {"from_name": name, "to_name": IMAGE_TAG, "type": "choices", "value": {"choices": [value]}}
        for name, value in values.items()
    ]


def annotate(
    studio: LabelStudioClient, task: int, values: Mapping[str, str], annotator: int | None = None, **more: Any
) -> int:
    """Annotate a task as in the browser and return the annotation's id."""
    author = {} if annotator is None else {"completed_by": annotator}
    return int(studio.sdk.annotations.create(task, result=annotation_result(values), **author, **more).id)


def stored_remote_ids(store: Store, project: str) -> dict[str, int]:
    """Return the task id on the server that the store has recorded, by key."""
    return {t.key: t.remote_id for page in store.review.tasks(project) for t in page if t.remote_id is not None}


def tasks_on_server(studio: LabelStudioClient, remote: int) -> dict[str, list[int]]:
    """Return the ids of all tasks on the server by key, read in full."""
    ids: dict[str, list[int]] = {}
    for task in studio.sdk.tasks.list(project=remote, page_size=1000):
        ids.setdefault(task.meta["vestigo_key"], []).append(task.id)
    return ids


def project_state(store: Store, project: str) -> dict[str, tuple[str, list[tuple[str, dict[str, str]]]]]:
    """Return the state and the annotations, (annotator, values), of every task of a project by key."""
    states = {}
    for page in store.review.tasks(project):
        annotations = store.annotations.get(project, [task.key for task in page])
        for task in page:
            values = sorted(((each.annotator, dict(each.answers)) for each in annotations.get(task.key, ())), key=repr)
            states[task.key] = (task.state, values)
    return states


def open_store(folder: Path) -> Store:
    """Open the store in a folder, and create it if there is none."""
    return Store.open(folder / "store", create=True)
