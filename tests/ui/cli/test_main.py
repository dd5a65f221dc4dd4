"""The program itself: what it says before any command starts."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

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


@pytest.mark.parametrize("command", [["cameras", "list", "--store"], ["index"], ["ui", "--store"]])
@pytest.mark.parametrize("option", [[], ["--debug"]])
def test_errors_and_tracebacks_hold_no_credentials(
    command: list[str], option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store")] if command == ["index"] else []
    assert run([*command, "postgresql://u:pass w'o@rd@host/x", *store, *option]) == 2
    shown = capsys.readouterr()
    assert "/***@host/x" in shown.err
    assert ("Traceback" in shown.err) == bool(option)
    assert not {part for part in ("pass", "w'o", "rd@") if part in shown.err + shown.out}
