"""The settings of an indexing run, and the fingerprint that binds stored rows to them."""

import hashlib
import json
import os
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from vestigo.instants import parse_instant, parse_zone
from vestigo_models.config_files import read_yaml
from vestigo_models.detection.registry import AUTO, DETECTORS
from vestigo_models.errors import ConfigError, key_path, quote
from vestigo_models.shipped import shipped_name
from vestigo_models.tracking.config import TrackingConfig
from vestigo_workers.executors.base import ExecutorSettings

CROPS_SCHEMA_VERSION = 2


def absolute_path(reference: str) -> str:
    """Return the absolute path of an existing file or folder, and any other reference unchanged."""
    return str(Path(reference).resolve()) if os.path.exists(reference) else reference


def absolute_reference(model: str) -> str:
    """Return the absolute path of an existing package, and any other reference unchanged, such as a shipped model."""
    return absolute_path(model) if shipped_name(model) is None else model


# Paths are absolute: a run can be resumed, and its frames read, from another folder.
Source = Annotated[str, AfterValidator(absolute_path)]
ModelReference = Annotated[str, AfterValidator(absolute_reference)]


class IndexRequest(ExecutorSettings):
    """All settings of `vestigo index`; also the keys of its `--config` file.

    Attributes:
        sources: video files, folders, tar or zip files, benchmark datasets.
        camera: name of the camera; by default that of the file or folder.
        start: when the first video of each camera begins (ISO 8601).
        timezone: IANA name of the zone of times without an offset, in `start` and in names of files.
        name_pattern: regular expression of paths with the groups camera, date and time; see
            `vestigo.ingest.sources.naming`.
        fps: frames per second of video that are examined.
        model: `default`, `small`, `tiny`, a package folder, `hub:ID`, or a name or digest of the store's registry; by
            default the serving model.
        detector: one of `DETECTORS.usages`.
        crops_per_tracklet: how many of a tracklet's best crops are kept.
        slice_seconds: seconds of video per shard, rounded to keyframes.
        batch_size: crops per forward pass.
        decode_threads: processes per worker that decode images ahead of the network, at least 1. By default 2 with a
            GPU, and 1 on a CPU.
    """

    sources: tuple[Source, ...] = Field(min_length=1)
    camera: str | None = Field(default=None, min_length=1)
    start: datetime | None = None
    timezone: str = "UTC"
    name_pattern: str | None = None
    fps: float = Field(default=5.0, gt=0, le=240)
    model: ModelReference = "default"
    detector: Annotated[str, AfterValidator(DETECTORS.absolute)] = AUTO
    crops_per_tracklet: int = Field(default=8, ge=1)
    slice_seconds: float = Field(default=30.0, gt=0)
    batch_size: int = Field(default=32, ge=1)
    decode_threads: int | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _with_zone(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Read the start in its zone; YAML gives times, dates and numbers for texts that look so."""
        zone = parse_zone(str(settings.get("timezone") or "UTC"))
        if settings.get("start") is None:
            return settings
        return settings | {"start": parse_instant(str(settings["start"]), zone)}

    @property
    def zone(self) -> tzinfo:
        """The zone of times without an offset."""
        return parse_zone(self.timezone)

    @property
    def tracking(self) -> TrackingConfig:
        """The configuration of tracking."""
        return TrackingConfig(fps=self.fps, crops_per_tracklet=self.crops_per_tracklet)


def build_request(options: dict[str, Any], config: Path | None = None) -> IndexRequest:
    """Build a request from a YAML file and options; an option that is not None overrides the file.

    Raises:
        ConfigError: The file cannot be read, or has unknown keys or wrong values (all of them in one line).
    """
    settings: dict[str, Any] = {}
    if config is not None:
        settings = read_yaml(config, f"configuration {config}") or {}
        if not isinstance(settings, dict):
            raise ConfigError(f"{config} holds a {type(settings).__name__}, not a mapping of settings")
    settings.update({key: value for key, value in options.items() if value is not None})
    try:
        return IndexRequest.model_validate(settings)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{key_path(mistake['loc'])}: {mistake['msg'].lower()} (got {quote(mistake['input'])})"
            for mistake in error.errors()
        )
        known = ", ".join(IndexRequest.model_fields)
        origin = "" if config is None else f"configuration {config}: "
        raise ConfigError(f"{origin}{mistakes}; the settings are {known}") from None


def fingerprint(config: dict[str, Any]) -> str:
    """Return the SHA-256 of `config`: weights, preprocessing, schema and every setting that changes a row.

    Settings that only divide or place the work (shards, slices, executor, device) are not part of `config`.
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
