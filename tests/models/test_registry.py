"""Registries of detectors and parsers: built in, registered, installed."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from vestigo_models import registry
from vestigo_models.detection.base import Detections
from vestigo_models.detection.registry import (
    DETECTORS,
    active_detector,
    is_crop_size,
    make_detector,
    register_detector,
    resolve_auto,
)
from vestigo_models.errors import ConfigError
from vestigo_models.parsing.registry import PARSERS, make_parser, register_parser
from vestigo_models.registry import Component, ComponentRegistry


class FixedDetector:
    """Finds one box."""

    digest = "0" * 64

    def __init__(self, argument: str, device: str) -> None:
        self.name = f"fixed:{argument}"

    def detect(self, image: np.ndarray) -> Detections:
        return Detections.ordered(np.array([[1, 2, 3, 4]]), np.array([0.5]))


INSTALLED = Component(name="installed", factory=FixedDetector, help="From a package.", argument="FILE")
WRONG_NAME = Component(name="other", factory=FixedDetector)


@pytest.fixture
def detectors(monkeypatch: pytest.MonkeyPatch) -> ComponentRegistry:
    """The registry of detectors, restored afterwards."""
    monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
    return DETECTORS


def test_registered_detector_is_made_and_listed(detectors: ComponentRegistry) -> None:
    register_detector("fixed", FixedDetector, help="One box.", argument="NUMBER")
    assert make_detector("fixed:7").name == "fixed:7"
    assert detectors.usage == "auto, none, nanodet, hog, hf:FOLDER_OR_ID or fixed:NUMBER"
    with pytest.raises(ConfigError, match="use auto, none, nanodet, hog, hf:FOLDER_OR_ID or fixed:NUMBER"):
        make_detector("fixed")


@pytest.mark.parametrize("name", ["nanodet", "hog", "auto", "none"])
def test_name_is_registered_once(detectors: ComponentRegistry, name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is already registered"):
        register_detector(name, FixedDetector)


def test_entry_point_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> list[EntryPoint]:
        values = {"installed": f"{__name__}:INSTALLED", "wrong": f"{__name__}:WRONG_NAME"}
        return [EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr(registry, "entry_points", points)
    monkeypatch.setattr(EntryPoint, "load", lambda point: globals()[point.attr])
    installed: ComponentRegistry = ComponentRegistry(
        "detector", "vestigo.detectors", [Component(name="hog", factory=FixedDetector)]
    )
    assert installed.usage == "hog, installed or wrong"
    entry, argument = installed.find("installed:x.pt")
    assert (entry, argument) == (INSTALLED, "x.pt")
    assert installed.usage == "hog, installed:FILE or wrong"
    with pytest.raises(ConfigError, match="is not a Component with the name 'wrong'"):
        installed.find("wrong")


def test_registered_parser_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(PARSERS, "_entries", dict(PARSERS._entries))
    register_parser("other", lambda argument, label_map, device: make_parser(f"labels:{argument}:lip"), argument="DIR")
    assert make_parser(f"other:{tmp_path}").label_set.name == "lip"


def test_existing_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").touch()
    (tmp_path / "hog").touch()
    assert DETECTORS.absolute("hog") == "hog"
    assert DETECTORS.absolute("hf:weights") == f"hf:{tmp_path / 'weights'}"
    assert DETECTORS.absolute("hf:somewhere/else") == "hf:somewhere/else"
    assert PARSERS.absolute("schp:weights:lip") == f"schp:{tmp_path / 'weights'}:lip"


def test_auto_and_none() -> None:
    assert active_detector("none") is None
    assert make_detector("auto").name == "nanodet"
    assert resolve_auto("auto", only_crops=True) == "none"
    assert resolve_auto("auto", only_crops=False) == "auto"
    assert resolve_auto("hog", only_crops=True) == "hog"
    assert is_crop_size(300, 299)
    assert not is_crop_size(300, 300)
    assert not is_crop_size(301, 100)


def test_every_entry_has_help() -> None:
    references = ("nanodet", "hog", "hf:x", "default", "package:x", "schp:x", "labels:x")
    registries = (DETECTORS, DETECTORS, DETECTORS, PARSERS, PARSERS, PARSERS, PARSERS)
    assert all(kind.find(reference)[0].help for kind, reference in zip(registries, references, strict=True))
