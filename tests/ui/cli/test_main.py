"""The program itself: what it says before any command starts."""

from __future__ import annotations

from importlib.metadata import version

import pytest
import typer

from vestigo_ui.cli.main import COMMANDS, GROUPS, build_app, run


def test_version_is_that_of_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"vestigo {version('vestigo')}\n"


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    shown = capsys.readouterr()
    assert "Usage: vestigo" in shown.out
    assert shown.err == ""


def test_summaries_equal_the_help_of_the_commands() -> None:
    command = typer.main.get_command(build_app())
    texts = {name: " ".join(child.help.split("\n\n")[0].split()) for name, child in command.commands.items()}
    assert texts == COMMANDS | GROUPS
