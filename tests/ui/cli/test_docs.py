"""Documentation cannot rot: each command has help with an example, and docs/commands.md is what the program says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tools import commands

ALL = dict(commands.commands())
ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", *(path for path in sorted(ROOT.glob("docs/**/*.md")) if path != commands.PAGE)]


def commands_of(document: Path) -> list[list[str]]:
    """Return the words of the program's commands in the console blocks of a document."""
    blocks = re.findall(r"^```console\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("vestigo ")]


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


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if commands_of(path)], ids=lambda path: path.name)
def test_commands_of_documents_are_accepted(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VESTIGO_STORE", "archive")
    for words in commands_of(document):
        name = next(" ".join(words[:count]) for count in (3, 2) if " ".join(words[:count]) in ALL)
        with ALL[name].make_context(name, words[len(name.split()) :]) as context:
            assert context.params, " ".join(words)
