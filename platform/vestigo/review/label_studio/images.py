"""Storage of task images such that the annotator's browser can load them.

    inline                  inside the tasks; needs no set-up, but every list of tasks in the browser loads them
    local:ROOT              files under ROOT, a folder that Label Studio serves (its LOCAL_FILES_DOCUMENT_ROOT)
    s3://BUCKET/PREFIX      objects that Label Studio shows through URLs that expire (pyarrow's URI options)

No credentials are sent to Label Studio: its server has its own for S3.
"""

import base64
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.store.location import without_secrets
from vestigo.store.open import Store
from vestigo.store.parquet.files import Folder
from vestigo.store.review.records import LabelTask
from vestigo_models.errors import BadInput, ConfigError, VestigoError
from vestigo_models.inference.images import decode_image, encode_jpeg
from vestigo_models.private_files import create_private

NO_MATCH = "^$"  # object names that a storage's "Sync" turns into tasks: none
URL_MINUTES = 60  # lifetime of a URL of S3
PROBE = "vestigo-probe.txt"
MAX_CROPS = 6  # crops of a strip, the best of the task
HEIGHT, GAP, BACKGROUND = 256, 6, 255
"""Height of a crop and the gap between crops, in pixels; the grey value of the background."""


class ImageStorage(ABC):
    """A place for task images; by default there is nothing to prepare."""

    def prepare(self, client: LabelStudioClient, remote: int, project: str) -> None:  # noqa: B027  (optional)
        """Raise ConfigError if project `remote` of the server cannot show the images; called before a task is sent."""

    @abstractmethod
    def save(self, key: str, jpeg: bytes) -> str:
        """Save the image of a task and return the value of the task's image field."""


def open_image_storage(spec: str) -> ImageStorage:
    """Return the storage that `spec` names; raise ConfigError if it is invalid."""
    if spec == "inline":
        return InlineImages()
    kind, _, root = spec.partition(":")
    if kind == "local" and root:
        return LocalImages(Path(root).expanduser().absolute())
    if kind == "s3" and urlsplit(spec).netloc:
        return S3Images(spec)
    raise ConfigError(f"--images {without_secrets(spec)}: one of inline, local:ROOT, s3://BUCKET/PREFIX")


class InlineImages(ImageStorage):
    """Images inside the tasks."""

    def save(self, key: str, jpeg: bytes) -> str:  # noqa: ARG002
        """Return a data URI."""
        return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


class LocalImages(ImageStorage):
    """Files in `ROOT/vestigo/PROJECT`, on a disk that Label Studio sees under the same path."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = ""

    def prepare(self, client: LabelStudioClient, remote: int, project: str) -> None:
        """Connect the folder to the project, and request a file of it from the server."""
        self._folder = f"vestigo/{_file_name(project)}"
        folder = self._root / self._folder
        probe = hashlib.sha256(str(folder).encode()).hexdigest()
        try:
            with create_private(folder / PROBE, "w") as file:
                file.write(probe)
        except OSError as error:
            raise ConfigError(f"--images local:{self._root}: {folder} cannot be written: {error.strerror}") from None
        try:
            _connect_storage(client, client.sdk.import_storage.local, remote, "path", path=str(folder))
            response = client.get(self._url(PROBE))
            if response.status_code == 200 and response.text == probe:
                return
            problem = f"it answers {response.status_code} for {self._folder}/{PROBE}"
        except ConfigError as error:
            problem = str(error)
        raise ConfigError(
            f"server {client.url} does not show files of {self._root} ({problem}): start it, as this user on "
            "a machine that sees this folder, with LOCAL_FILES_SERVING_ENABLED=true and "
            f"LOCAL_FILES_DOCUMENT_ROOT={self._root}"
        )

    def save(self, key: str, jpeg: bytes) -> str:
        """Write a file atomically and return its address on the server."""
        name = f"{_file_name(key)}.jpg"
        path = self._root / self._folder / name
        with create_private(path) as file:
            file.write(jpeg)
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"/data/local-files/?d={quote(f'{self._folder}/{name}')}"


class S3Images(ImageStorage):
    """Objects of S3; tasks hold `s3://` addresses, which the server signs on request."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._bucket = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.strip("/")
        self._options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        # One request for each object; without it a stream is uploaded in parts, which takes three.
        self._objects = Folder(uri + ("&" if parts.query else "?") + "allow_delayed_open=true")
        self._folder = ""

    def prepare(self, client: LabelStudioClient, remote: int, project: str) -> None:
        """Connect the bucket to the project, unless it is connected."""
        self._folder = "/".join(filter(None, (self._prefix, "vestigo", _file_name(project))))
        self._objects.make()
        self._write(PROBE, b"")
        endpoint = self._options.get("endpoint_override")
        if endpoint is not None and "://" not in endpoint:
            endpoint = f"{self._options.get('scheme', 'https')}://{endpoint}"
        given = {"s3endpoint": endpoint, "region_name": self._options.get("region")}
        options = {name: value for name, value in given.items() if value is not None}
        bucket = {"bucket": self._bucket, "prefix": self._folder, "presign": True, "presign_ttl": URL_MINUTES}
        try:
            _connect_storage(client, client.sdk.import_storage.s3, remote, "bucket", **bucket, **options)
        except VestigoError as error:
            raise ConfigError(
                f"server {client.url} cannot read s3://{self._bucket}/{self._folder} ({error}): start it with "
                "credentials of its own for this bucket (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role; for "
                "an S3 of your own network SSRF_PROTECTION_ENABLED=false), or add it under Settings > Cloud Storage"
            ) from None

    def save(self, key: str, jpeg: bytes) -> str:
        """Write an object and return its address without credentials."""
        name = f"{_file_name(key)}.jpg"
        self._write(name, jpeg)
        return f"s3://{self._bucket}/{self._folder}/{name}"

    def _write(self, name: str, content: bytes) -> None:
        relative = f"{self._folder}/{name}".removeprefix(f"{self._prefix}/" if self._prefix else "")
        with self._objects.create(relative) as stream:
            stream.write(content)


def render_task_images(store: Store, tasks: Sequence[LabelTask]) -> list[bytes]:
    """Render a JPEG strip of the best crops of each task, in order of time; memory is that of all their images."""
    best = [task.crops[:MAX_CROPS] for task in tasks]
    crop_ids = list(dict.fromkeys(crop for crops in best for crop in crops))
    rows = {row["crop_id"]: row for row in store.crops.get(crop_ids, ["image", "frame", "input"])}
    strips = []
    for crops in best:
        ordered = sorted(crops, key=lambda crop: (rows[crop]["frame"], rows[crop]["input"], crop))
        strips.append(encode_jpeg(make_strip([_decode(rows[crop]["image"]) for crop in ordered])))
    return strips


def make_strip(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Join at least one crop (RGB uint8 h x w x 3) side by side, each `HEIGHT` high."""
    gap = np.full((HEIGHT, GAP, 3), BACKGROUND, dtype=np.uint8)
    parts: list[NDArray[np.uint8]] = [gap]
    for image in images:
        width = max(1, round(image.shape[1] * HEIGHT / image.shape[0]))
        interpolation = cv2.INTER_AREA if image.shape[0] > HEIGHT else cv2.INTER_CUBIC
        parts += [np.asarray(cv2.resize(image, (width, HEIGHT), interpolation=interpolation), dtype=np.uint8), gap]
    return np.concatenate(parts, axis=1)


def _connect_storage(client: LabelStudioClient, storages: Any, remote: int, key: str, **place: Any) -> None:
    """Create a storage of a project at a place, unless there is one with the same value of `key`."""

    def connect() -> None:
        connected = client.call(partial(storages.list, project=remote))
        if place[key] not in [getattr(storage, key) for storage in connected]:
            storages.create(project=remote, title="Vestigo", use_blob_urls=True, regex_filter=NO_MATCH, **place)

    client.call(connect)


def _file_name(text: str) -> str:
    """Return a name that is valid in every file system and URL."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


def _decode(image: bytes) -> NDArray[np.uint8]:
    try:
        return decode_image(image)
    except BadInput:
        return np.full((HEIGHT, HEIGHT // 2, 3), 128, dtype=np.uint8)
