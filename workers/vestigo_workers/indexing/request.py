"""What a user asks of an indexing run, and the fingerprint that binds stored rows to it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vestigo_models.errors import ConfigError

CROPS_SCHEMA_VERSION = 2


class IndexRequest(BaseModel):
    """Everything `vestigo index` can be told; also the keys of its `--config` file.

    Attributes:
        sources: video files, folders, tar or zip files, benchmark datasets.
        camera: name of the camera; by default the file's or folder's own.
        start: when the footage begins (ISO 8601; without an offset it is UTC).
        fps: frames a second that are looked at, of a video.
        model: `default`, a package folder, `hub:ID`, or a name or digest of the store's registry; by default the one
            that serves there.
        detector: `auto`, `none`, `hog` or `hf:FOLDER_OR_ID`.
        crops_per_tracklet: how many of a tracklet's best crops are kept.
        executor: `inline`, `ray`, or `auto` (Ray where several shards can run side by side).
        actors: Ray actors; by default one a GPU share or one a CPU.
        gpus_per_actor: share of a GPU an actor is pinned to.
        device: where the networks run: `auto`, `cpu`, `cuda`.
        shard_size: still images a shard.
        slice_seconds: seconds of video a shard, rounded to keyframes.
        batch_size: crops a forward pass.
        decode_threads: threads a worker that decode images ahead of the network; 0 decodes where the network runs.
            By default 2 beside a GPU and 0 on a CPU, where both would only compete for the same core.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("start")
    @classmethod
    def _with_zone(cls, start: datetime | None) -> datetime | None:
        return start.replace(tzinfo=UTC) if start is not None and start.tzinfo is None else start

    @field_validator("sources", "model", "detector")
    @classmethod
    def _from_anywhere(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """A run is resumed, and its frames are looked at, from another folder than it was begun in."""
        return absolute(value) if isinstance(value, str) else tuple(map(absolute, value))

    sources: tuple[str, ...] = Field(min_length=1)
    camera: str | None = None
    start: datetime | None = None
    fps: float = Field(default=5.0, gt=0, le=240)
    model: str = "default"
    detector: str = "auto"
    crops_per_tracklet: int = Field(default=8, ge=1)
    executor: Literal["inline", "ray", "auto"] = "auto"
    actors: int | None = Field(default=None, ge=1)
    gpus_per_actor: float | None = Field(default=None, ge=0)
    device: str = "auto"
    shard_size: int = Field(default=256, ge=1)
    slice_seconds: float = Field(default=30.0, gt=0)
    batch_size: int = Field(default=32, ge=1)
    decode_threads: int | None = Field(default=None, ge=0)


def absolute(ref: str) -> str:
    """Return what names a file or folder (`hf:` before it stays) with its whole path, and anything else as it is."""
    prefix, rest = ("hf:", ref.removeprefix("hf:")) if ref.startswith("hf:") else ("", ref)
    named = rest not in {"default", "auto", "none", "hog"} and Path(rest).exists()
    return f"{prefix}{Path(rest).resolve()}" if named else ref


def build_request(options: dict[str, Any], config: Path | None = None) -> IndexRequest:
    """Merge a YAML file with options given by hand (which win) into a request.

    Raises:
        ConfigError: all unknown keys and wrong values, in one line.
    """
    settings: dict[str, Any] = {}
    if config is not None:
        try:
            settings = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read the configuration {config}: {error}") from None
        if not isinstance(settings, dict):
            raise ConfigError(f"{config} holds a {type(settings).__name__}, not a mapping of settings")
    settings.update({key: value for key, value in options.items() if value is not None})
    try:
        return IndexRequest.model_validate(settings)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg'].lower()} (got {mistake['input']!r})"
            for mistake in error.errors()
        )
        known = ", ".join(IndexRequest.model_fields)
        raise ConfigError(f"{mistakes}; the settings are {known}") from None


def fingerprint(config: dict[str, Any]) -> str:
    """Return the SHA-256 of `config`: weights, preprocessing, schema and every setting that changes a row.

    How the work is cut and where it runs (shards, slices, executor, device) stays out: it does not change a row.
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
