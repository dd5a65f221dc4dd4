"""docs/python.md: every example runs as written."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from vestigo_ui.cli.main import run

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--identities", "8", "--cameras", "2", "--images-per-camera", "2", "--seed", "1"]
    assert run(["render", "people", *options]) == 0
    text = PAGE.read_text("utf-8")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 20
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=flags, verbose=False).run(test, out=report.append)
    assert result.failed == 0, "".join(report)
