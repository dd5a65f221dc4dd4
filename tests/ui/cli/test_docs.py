"""Documentation cannot rot: each command has help with an example, and docs/commands.md is what the program says."""

from __future__ import annotations

from typing import Any

import pytest

from tools import commands

ALL = dict(commands.commands())


@pytest.mark.parametrize("name", ALL)
def test_help_has_example_of_command(name: str) -> None:
    text, example = commands.split_help(ALL[name])
    assert text
    assert example.startswith(name)


@pytest.mark.parametrize("name", ALL)
def test_every_argument_and_option_has_help(name: str) -> None:
    def unexplained(param: Any) -> bool:
        return param.name != "help" and not param.help

    assert [param.name for param in ALL[name].params if unexplained(param)] == []


def test_commands_page_is_current() -> None:
    assert commands.is_current(), "docs/commands.md is out of date: run `make docs`"
