from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from vestigo_ui.cli.commands import doctor as checks
from vestigo_ui.cli.main import run


def test_every_check_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["checks"]
    assert all(check.keys() == {"name", "status", "found", "remedy"} and check["found"] for check in found)
    by_name = {check["name"]: check for check in found}
    assert {"python", "torch", "opencv people detector", "device", "processors", "memory", "disk"} <= by_name.keys()
    assert {"video", "default model", "ray cluster", "postgresql driver", "browser"} <= by_name.keys()
    assert "store" not in by_name


def test_what_is_missing_has_a_remedy_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = checks.Check(name="video", status="missing", found="nothing", remedy="install it")
    monkeypatch.setattr(checks, "all_checks", lambda store: iter([lacking]))
    assert run(["doctor"]) == 1
    assert "video" in (shown := capsys.readouterr().out)
    assert "install it" in shown


def test_libraries_are_held_against_the_distributions_own_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = ["numpy>=2", "numpy<1", "no-such-library>=3", "pytest; extra == 'dev'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wishes)
    good, old, absent = checks.check_libraries()
    assert (good.status, good.found) == ("ok", importlib.metadata.version("numpy"))
    assert (old.status, old.remedy) == ("missing", "pip install 'numpy<1'")
    assert (absent.status, absent.found) == ("missing", "not installed")


def test_two_opencvs_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        def __init__(self, name: str) -> None:
            self.name = name

    both = [Distribution("opencv-python"), Distribution("opencv-python-headless"), Distribution("numpy")]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(both))
    check = checks.check_opencv()
    assert (check.status, check.found) == ("missing", "opencv-python and opencv-python-headless")


def test_little_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "LITTLE_DISK", 2**60)
    *_, disk = checks.check_machine(tmp_path / "not" / "there" / "yet")
    assert (disk.name, disk.status) == ("disk", "warn")


def test_a_store_that_is_none_is_named(tmp_path: Path) -> None:
    check = checks.check_store(str(tmp_path / "nowhere"))
    assert check.status == "missing"
    assert "nowhere" in check.found


def test_a_store_that_is_one_is_described(tmp_path: Path) -> None:
    from vestigo.store.open import Store

    Store.open(tmp_path / "store").close()
    check = checks.check_store(str(tmp_path / "store"))
    assert (check.status, check.found.endswith("0 runs")) == ("ok", True)
