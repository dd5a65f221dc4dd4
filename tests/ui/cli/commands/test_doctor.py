from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from vestigo.store.open import Store
from vestigo_ui.cli.commands import doctor
from vestigo_ui.cli.main import run


def test_every_check_describes_its_component(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["checks"]
    assert all(check.keys() == {"name", "status", "found", "remedy"} and check["found"] for check in results)
    by_name = {check["name"]: check for check in results}
    assert {"python", "torch", "opencv people detector", "device", "processors", "memory", "disk"} <= by_name.keys()
    assert {"video", "default model", "ray cluster", "postgresql driver", "browser"} <= by_name.keys()
    assert "store" not in by_name


def test_missing_component_has_remedy_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = {"name": "video", "status": "missing", "found": "nothing", "remedy": "install it"}
    monkeypatch.setattr(doctor, "run_checks", lambda store: iter([lacking]))
    assert run(["doctor"]) == 1
    assert "video" in (printed := capsys.readouterr().out)
    assert "install it" in printed


def test_libraries_are_compared_with_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = ["numpy>=2", "numpy<1", "no-such-library>=3", "pytest; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requirements)
    good, old, absent = doctor.check_libraries()
    assert (good["status"], good["found"]) == ("ok", importlib.metadata.version("numpy"))
    assert (old["status"], old["remedy"]) == ("missing", "pip install 'numpy<1'")
    assert (absent["status"], absent["found"]) == ("missing", "not installed")


def test_two_opencv_distributions_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [SimpleNamespace(name=name) for name in ("opencv-python", "opencv-python-headless", "numpy")]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(both))
    check = doctor.run_check(*doctor.COMPONENTS[0])
    assert (check["status"], check["found"]) == ("missing", "opencv-python and opencv-python-headless")


def find_check(name: str, store: Path) -> dict[str, str]:
    return next(check for check in doctor.run_checks(str(store)) if check["name"] == name)


def test_little_disk_space_is_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "LITTLE_DISK", 2**60)
    assert find_check("disk", tmp_path / "not" / "there" / "yet")["status"] == "warn"


def test_missing_store_is_named(tmp_path: Path) -> None:
    check = find_check("store", tmp_path / "nowhere")
    assert check["status"] == "missing"
    assert "nowhere" in check["found"]


def test_store_is_described(tmp_path: Path) -> None:
    Store.open(tmp_path / "store").close()
    check = find_check("store", tmp_path / "store")
    assert (check["status"], check["found"].endswith("0 runs")) == ("ok", True)
