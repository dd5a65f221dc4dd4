"""Requests, configuration files and fingerprints."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from vestigo_models.errors import ConfigError
from vestigo_workers.executors.base import ExecutorSettings
from vestigo_workers.indexing.request import IndexRequest, build_request, fingerprint


def test_options_override_file(tmp_path: Path) -> None:
    config = tmp_path / "index.yaml"
    config.write_text("fps: 2\ncamera: gate\n", encoding="utf-8")
    request = build_request({"sources": ("a.mp4",), "fps": 4.0, "camera": None}, config)
    assert (request.fps, request.camera) == (4.0, "gate")


def test_all_mistakes_of_file_are_reported_together(tmp_path: Path) -> None:
    config = tmp_path / "index.yaml"
    config.write_text("fps: -1\nframes: 3\nexecutor: spark\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        build_request({"sources": ("a.mp4",)}, config)
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in ("fps", "-1", "frames", "executor", "spark"))


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nfps: *a",
        "start: 2026-13-45",
        "slice_seconds: .inf",
        "camera: ''",
        f"fps: 5\nshard_{'1' * 5000}",
        f"detector: hf:{'a' * 5000}\nfps: {'a' * 5000}",
        f"model: {'a' * 5000}\nfps: -1",
    ],
)
def test_hostile_file_is_one_line(text: str, tmp_path: Path) -> None:
    config = tmp_path / "index.yaml"
    config.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^configuration .*index\.yaml") as caught:
        build_request({"sources": ("a.mp4",)}, config)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_start_without_zone_is_utc() -> None:
    request = IndexRequest.model_validate({"sources": ("a",), "start": "2026-05-01T08:00:00"})
    assert request.start == datetime(2026, 5, 1, 8, tzinfo=UTC)
    assert IndexRequest.model_validate_json(request.model_dump_json()) == request


def test_existing_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gate.mp4", "hog", "default"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    request = IndexRequest(sources=("gate.mp4", "missing.mp4"), model="default", detector="hf:gate.mp4")
    assert request.sources == (str(tmp_path / "gate.mp4"), "missing.mp4")
    assert (request.model, request.detector) == ("default", f"hf:{tmp_path / 'gate.mp4'}")
    assert IndexRequest(sources=("a",), detector="hog", model="hub:some/id").detector == "hog"


def test_every_setting_is_documented() -> None:
    documented = f"{IndexRequest.__doc__} {ExecutorSettings.__doc__}"
    assert [name for name in IndexRequest.model_fields if f"{name}:" not in documented] == []


def test_fingerprint_depends_on_values_and_not_on_order() -> None:
    config = {"model": "a", "tracking": {"fps": 5.0}}
    assert fingerprint(config) == fingerprint({"tracking": {"fps": 5.0}, "model": "a"})
    assert fingerprint(config) != fingerprint({"model": "a", "tracking": {"fps": 4.0}})
