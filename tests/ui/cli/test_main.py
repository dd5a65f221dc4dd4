"""The program itself: what it says before any command starts."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from vestigo_ui.cli.main import run


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"vestigo {version('vestigo')}\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    shown = capsys.readouterr()
    assert "Usage: vestigo" in shown.out
    assert shown.err == ""
