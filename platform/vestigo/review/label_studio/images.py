"""Where the pictures of tasks lie so that a reviewer's browser sees them, and nobody else does.

    inline                  inside the tasks; nothing to set up, and every list of tasks in the browser carries them
    local:ROOT              files under ROOT, a folder that Label Studio serves (its LOCAL_FILES_DOCUMENT_ROOT)
    s3://BUCKET/PREFIX      objects that Label Studio shows through addresses that expire (pyarrow's URI options)

No credentials go to Label Studio: its server brings its own to S3.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo.review.label_studio.client import Studio
from vestigo.store.open import Store
from vestigo.store.parquet.files import Folder
from vestigo.store.review.records import LabelTask
from vestigo_models.errors import BadInput, ConfigError, VestigoError
from vestigo_models.inference.images import decode_image, encode_jpeg

NOTHING = "^$"
"""Object names that a storage's "Sync" turns into tasks: none, these tasks are made here."""
EXPIRES = 60
"""Minutes for which an address of S3 is good."""
PROBE = "vestigo-probe.txt"


class Images(Protocol):
    """A place for pictures."""

    def prepare(self, studio: Studio, remote: int, project: str) -> None:
        """Make sure, before a task is sent, that project `remote` of the server can show what lies here.

        Raises ConfigError, naming what must be set on the server.
        """

    def place(self, key: str, jpeg: bytes) -> str:
        """Keep the picture of a task; return what the task's image field holds."""


def open_images(spec: str) -> Images:
    """Open the place that `spec` names. Raises ConfigError for a spec that is none of the three."""
    if spec == "inline":
        return Inline()
    kind, _, root = spec.partition(":")
    if kind == "local" and root:
        return Local(Path(root).expanduser().absolute())
    if kind == "s3" and urlsplit(spec).netloc:
        return Bucket(spec)
    raise ConfigError(f"--images {spec}: one of inline, local:ROOT, s3://BUCKET/PREFIX")


class Inline:
    """Pictures are written into the tasks."""

    def prepare(self, studio: Studio, remote: int, project: str) -> None:
        """Nothing to do."""

    def place(self, key: str, jpeg: bytes) -> str:
        """A data URI."""
        return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


class Local:
    """Pictures are files in `ROOT/vestigo/PROJECT`, on a disk that Label Studio sees under the same path."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = ""

    def prepare(self, studio: Studio, remote: int, project: str) -> None:
        """Connect the folder to the project, and ask the server for a file of it."""
        self._folder = f"vestigo/{_file_name(project)}"
        folder = self._root / self._folder
        probe = hashlib.sha256(str(folder).encode()).hexdigest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / PROBE).write_text(probe)
        except OSError as error:
            raise ConfigError(f"--images local:{self._root}: {folder} cannot be written: {error.strerror}") from None
        storages = studio.client.import_storage.local
        self._connect(
            studio,
            lambda: [one.path for one in storages.list(project=remote)],
            str(folder),
            lambda: storages.create(
                project=remote, path=str(folder), title="Vestigo", use_blob_urls=True, regex_filter=NOTHING
            ),
        )
        answer = studio.get(self._address(PROBE))
        if answer.status_code != 200 or answer.text != probe:
            raise ConfigError(self._remedy(studio, f"it answers {answer.status_code} for {self._folder}/{PROBE}"))

    def place(self, key: str, jpeg: bytes) -> str:
        """Write a file, whole or not at all; its address on the server."""
        name = f"{_file_name(key)}.jpg"
        path = self._root / self._folder / name
        partial = path.with_suffix(".partial")
        partial.write_bytes(jpeg)
        partial.replace(path)
        return self._address(name)

    def _address(self, name: str) -> str:
        return f"/data/local-files/?d={quote(f'{self._folder}/{name}')}"

    def _connect(self, studio: Studio, there: Callable[[], list[Any]], path: str, create: Callable[[], object]) -> None:
        problem = ""
        try:
            studio.call(lambda: None if path in studio.call(there) else create())
        except ConfigError as error:
            problem = str(error)
        if problem:
            raise ConfigError(self._remedy(studio, problem))

    def _remedy(self, studio: Studio, problem: str) -> str:
        return (
            f"server {studio.url} does not show files of {self._root} ({problem}): start it, on a machine that "
            f"sees this folder, with LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT={self._root}"
        )


class Bucket:
    """Pictures are objects of S3; tasks hold `s3://` addresses, and the server signs them when somebody looks."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._bucket = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.strip("/")
        self._options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        # One request an object: streams are sent in parts otherwise, which takes three.
        self._objects = Folder(uri + ("&" if parts.query else "?") + "allow_delayed_open=true")
        self._folder = ""

    def prepare(self, studio: Studio, remote: int, project: str) -> None:
        """Connect the bucket to the project, unless somebody did so by hand."""
        self._folder = "/".join(filter(None, (self._prefix, "vestigo", _file_name(project))))
        self._objects.make()
        self._write(PROBE, b"")
        storages = studio.client.import_storage.s3
        endpoint = self._options.get("endpoint_override")
        if endpoint is not None and "://" not in endpoint:
            endpoint = f"{self._options.get('scheme', 'https')}://{endpoint}"
        told = {"s3endpoint": endpoint, "region_name": self._options.get("region")}
        problem = ""
        try:
            studio.call(
                lambda: (
                    None
                    if self._bucket in [one.bucket for one in studio.call(partial(storages.list, project=remote))]
                    else storages.create(
                        project=remote,
                        bucket=self._bucket,
                        prefix=self._folder,
                        title="Vestigo",
                        use_blob_urls=True,
                        presign=True,
                        presign_ttl=EXPIRES,
                        regex_filter=NOTHING,
                        **{name: value for name, value in told.items() if value is not None},
                    )
                )
            )
        except VestigoError as error:
            problem = str(error)
        if problem:
            raise ConfigError(
                f"server {studio.url} cannot read s3://{self._bucket}/{self._folder} ({problem}): start it with "
                "credentials of its own for this bucket (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role; for "
                "an S3 of your own network SSRF_PROTECTION_ENABLED=false), or add it under Settings > Cloud Storage"
            )

    def place(self, key: str, jpeg: bytes) -> str:
        """Write an object; its address without credentials."""
        name = f"{_file_name(key)}.jpg"
        self._write(name, jpeg)
        return f"s3://{self._bucket}/{self._folder}/{name}"

    def _write(self, name: str, content: bytes) -> None:
        relative = f"{self._folder}/{name}".removeprefix(f"{self._prefix}/" if self._prefix else "")
        with self._objects.create(relative) as stream:
            stream.write(content)


def _file_name(text: str) -> str:
    """A name that is one in every file system and address."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


SHOWN = 6
"""Crops on a strip, the best of the task."""
HEIGHT, GAP, PAPER = 256, 6, 255
"""Pixels: how high a crop is shown, and what lies between two; grey of the paper."""


def strip(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put crops (RGB uint8 h x w x 3, at least one) beside each other, each `HEIGHT` high."""
    gap = np.full((HEIGHT, GAP, 3), PAPER, dtype=np.uint8)
    parts: list[NDArray[np.uint8]] = [gap]
    for image in images:
        width = max(1, round(image.shape[1] * HEIGHT / image.shape[0]))
        shape = cv2.INTER_AREA if image.shape[0] > HEIGHT else cv2.INTER_CUBIC
        parts += [np.asarray(cv2.resize(image, (width, HEIGHT), interpolation=shape), dtype=np.uint8), gap]
    return np.concatenate(parts, axis=1)


def task_pictures(store: Store, tasks: Sequence[LabelTask]) -> list[bytes]:
    """JPEG strips of tasks; all their crops are looked up at once, memory is that of their images.

    Raises StoreError where a crop is no longer in the store.
    """
    shown = [task.crops[:SHOWN] for task in tasks]
    wanted = list(dict.fromkeys(crop for crops in shown for crop in crops))
    rows = {row["crop_id"]: row for row in store.crops.get(wanted, ["image", "frame", "input"])}
    return [encode_jpeg(strip([_image(rows[crop]) for crop in _in_order(crops, rows)])) for crops in shown]


def _in_order(crops: Sequence[str], rows: dict[str, dict[str, Any]]) -> list[str]:
    return sorted(crops, key=lambda crop: (rows[crop]["frame"], rows[crop]["input"], crop))


def _image(row: dict[str, Any]) -> NDArray[np.uint8]:
    try:
        return decode_image(row["image"])
    except BadInput:
        return np.full((HEIGHT, HEIGHT // 2, 3), 128, dtype=np.uint8)
