"""A real Label Studio server for the tests, stores with drawn tasks, and people who review them."""

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
    """A server that runs for this session; the first run on a machine installs it."""
    data = tmp_path_factory.mktemp("label-studio")
    token, password = secrets.token_hex(20), secrets.token_hex(8)
    # Where the tests of S3 have theirs, this server has credentials of its own; no test hands it any.
    aws = {"AWS_ACCESS_KEY_ID": "server", "AWS_SECRET_ACCESS_KEY": "server", "AWS_EC2_METADATA_DISABLED": "true"}
    # That S3 is on this machine, where the server would otherwise fetch nothing.
    aws["SSRF_PROTECTION_ENABLED"] = "false"
    with tool.running(
        tool.install(), data, port=tool.free_port(), user=OWNER, password=password, token=token, extra=aws
    ) as server:
        yield server


@pytest.fixture
def studio(label_studio: tool.Server) -> Iterator[LabelStudioClient]:
    """An open connection to it."""
    with LabelStudioClient.connect(label_studio.url, label_studio.token, patience=10) as studio:
        yield studio


@pytest.fixture
def project() -> str:
    """The name of a project that nobody had before on this server."""
    return f"project {next(_names)} {secrets.token_hex(4)}"


@pytest.fixture
def other_reviewer(studio: LabelStudioClient) -> int:
    """The id of a second person on the server."""
    for user in studio.sdk.users.list():
        if user.email == OTHER:
            return int(user.id)
    return int(studio.sdk.users.create(email=OTHER, username="ben").id)


def drawn(
    store: Store,
    project: str,
    count: int,
    *,
    start: int = 0,
    schema: AttributeSchema = MARKET_1501,
    model: str = MODEL,
) -> None:
    """Record a draw of `count` tasks with keys from number `start` on."""
    if model not in {known.digest for known in store.models.list()}:
        store.models.register(model, name="small", location="here")
    rng = np.random.default_rng(start)
    store.review.ensure_project(project, schema)
    tasks = [
        NewTask(
            key=key(number),
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
    draw = SamplingDesign(model=model, strategy="random", unit="crop", budget=count, seed=0, population=count)
    store.review.save_sample(project, draw, tasks, [rows])


def key(number: int) -> str:
    """The key of task `number`."""
    return f"{number:040x}"


def pictures(tasks: Sequence[LabelTask]) -> list[bytes]:
    """A small JPEG for each task, decided by its key."""
    made = []
    for task in tasks:
        file = io.BytesIO()
        Image.new("RGB", (64, 32), (int(task.key, 16) % 255, 90, 90)).save(file, "JPEG")
        made.append(file.getvalue())
    return made


def result(answers: Mapping[str, str]) -> list[dict[str, Any]]:
    """What Label Studio keeps of answers."""
    return [
        {"from_name": name, "to_name": IMAGE_TAG, "type": "choices", "value": {"choices": [value]}}
        for name, value in answers.items()
    ]


def answer(
    studio: LabelStudioClient, task: int, answers: Mapping[str, str], reviewer: int | None = None, **more: Any
) -> int:
    """Answer a task as somebody would in the browser; return the annotation's id."""
    who = {} if reviewer is None else {"completed_by": reviewer}
    return int(studio.sdk.annotations.create(task, result=result(answers), **who, **more).id)


def remote_ids(store: Store, project: str) -> dict[str, int]:
    """Key to the id that the store believes the server has."""
    return {t.key: t.remote_id for page in store.review.tasks(project) for t in page if t.remote_id is not None}


def on_server(studio: LabelStudioClient, remote: int) -> dict[str, list[int]]:
    """Key to the ids of all tasks that the server has under it, read with everything that they hold, from the start."""
    found: dict[str, list[int]] = {}
    for task in studio.sdk.tasks.list(project=remote, page_size=1000):
        found.setdefault(task.meta["vestigo_key"], []).append(task.id)
    return found


def state(store: Store, project: str) -> dict[str, tuple[str, list[tuple[str, dict[str, str]]]]]:
    """Everything that the store knows of a project apart from ids and times: key to state and answers by reviewer."""
    found = {}
    for page in store.review.tasks(project):
        answers = store.annotations.get(project, [task.key for task in page])
        for task in page:
            told = sorted(((one.annotator, dict(one.answers)) for one in answers.get(task.key, ())), key=repr)
            found[task.key] = (task.state, told)
    return found


def open_store(folder: Path) -> Store:
    """A store in a folder, made where it is missing."""
    return Store.open(folder / "store", create=True)
