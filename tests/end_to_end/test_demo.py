"""The demo from its first picture to its report, on a world of its smallest size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vestigo_ui.cli.commands import demo
from vestigo_ui.cli.main import run
from vestigo_ui.cli.output import program
from vestigo_ui.web.auth.users import Users


def test_an_earlier_demo_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"IDENTITIES": 6, "CAMERAS": 2, "IMAGES_PER_CAMERA": 2, "VIDEO_SECONDS": 2.0}.items():
        monkeypatch.setattr(demo, name, value)
    out = tmp_path / "demo"
    out.mkdir()
    for left in (demo.MARK, "archive", "of an earlier demo"):
        (out / left).touch()
    assert run(["demo", "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert "password" not in printed.out + printed.err
    assert any(command.startswith(f"{program()} ui --store") for command in result["next"])
    assert {name: account.role for name, account in Users(out / "users.toml").accounts().items()} == {"demo": "admin"}
    assert not (out / "of an earlier demo").exists()
    assert result["report"] == str(out / "report.html")
    assert result["crops"] > 0
    assert 0 < result["rank1"] <= 100
    assert 0 < result["mAP"] <= 100
    page = (out / "report.html").read_text("utf-8")
    assert "evaluation.html" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for link in ("evaluation.html", "search.html"):
        assert link not in page or (out / link).is_file()


def test_offered_password_signs_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = demo.create_account(tmp_path)
    demo.offer_screen(tmp_path, password)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{program()} ui --store {tmp_path / 'store'} --users {tmp_path / 'users.toml'}" in printed
    assert password in printed
    assert Users(tmp_path / "users.toml").verify("demo", password) is not None


def test_folder_of_other_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    assert run(["demo", "--out", str(tmp_path)]) == 2
    assert "is not empty and no earlier demo" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "thesis.tex").read_text() == "all of it"
