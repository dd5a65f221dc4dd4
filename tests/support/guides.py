"""Guides of docs/extending as packages: their code blocks are written to a folder, installed and run."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vestigo.review.sampling.strategies import STRATEGIES
from vestigo_models.detection.registry import DETECTORS
from vestigo_models.parsing.registry import PARSERS
from vestigo_ui.cli.main import run

GUIDES = Path(__file__).parents[2] / "docs" / "extending"
BLOCK = re.compile(r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.M | re.S)
OpenGuide = Callable[[str], "Guide"]


class Guide:
    """A guide whose files are written to a folder, which works like the folder of an installed package.

    Attributes:
        folder: Holds the files that the code blocks with a title show.
        commands: Command lines of the `console` blocks that begin with `vestigo`.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.commands: list[str] = []
        for block in BLOCK.finditer((GUIDES / f"{name}.md").read_text(encoding="utf-8")):
            if block["title"]:
                (folder / block["title"]).write_text(block["text"], encoding="utf-8")
            elif block["language"] == "console":
                lines = block["text"].replace("\\\n", " ").splitlines()
                self.commands += [line for line in lines if line.startswith("vestigo ")]
        if (folder / "pyproject.toml").is_file():
            self._install()

    def _install(self) -> None:
        """Write the metadata that an installer would write, so that Python finds the entry points."""
        project = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        metadata = self.folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        metadata.mkdir()
        text = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (metadata / "METADATA").write_text(text, encoding="utf-8")
        groups = [
            "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items()), ""])
            for group, points in project["entry-points"].items()
        ]
        (metadata / "entry_points.txt").write_text("\n".join(groups), encoding="utf-8")

    def command(self, words: str) -> str:
        """Return the command line of the guide that begins with `vestigo` and these words."""
        (line,) = (line for line in self.commands if line.startswith(f"vestigo {words}"))
        return line

    def run(self, command: str) -> dict[str, Any]:
        """Run a command line of the program with --json in the folder and return its result."""
        output = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(output):
            status = run([*shlex.split(command)[1:], "--json"])
        assert status == 0, command
        result: dict[str, Any] = json.loads(output.getvalue())
        return result

    def run_tests(self) -> None:
        """Run the tests that the guide shows: functions without arguments."""
        (path,) = self.folder.glob("test_*.py")
        tests = [value for name, value in runpy.run_path(str(path)).items() if name.startswith("test_")]
        assert tests
        for test in tests:
            test()


@pytest.fixture
def open_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenGuide]:
    """Open a guide as an installed package, of which nothing is left after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registries: list[Any] = [DETECTORS, PARSERS, STRATEGIES]
    for registry in registries:
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        vars(registry).pop("_installed", None)
    modules = set(sys.modules)
    yield lambda name: Guide(name, tmp_path)
    for registry in registries:
        vars(registry).pop("_installed", None)
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
