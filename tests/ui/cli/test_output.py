from __future__ import annotations

import json

import pytest

from vestigo_models.names import escape_controls
from vestigo_ui.cli.output import Output, make_table, note, out, print_line

HOSTILE = "[red]x[/red] :cat: \x1b[31m \x9b31m \u202e \u200f \u2028 \udcff é"
SHOWN = "[red]x[/red] :cat: \\x1b[31m \\x9b31m \\u202e \\u200f \\u2028 \\udcff é"


def test_names_are_data_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out.print(f"camera {HOSTILE}", style="bold")
    out.print(make_table(("camera",), [(f"{HOSTILE}\ngate",)]))
    note(HOSTILE)
    print_line(f"{HOSTILE}\n  1 inputs: 1 done")
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == f"camera {SHOWN}"
    assert captured.out.splitlines()[2].rstrip() == f"{SHOWN}\\ngate"
    assert captured.out.splitlines()[3] == f"{SHOWN}\\n  1 inputs: 1 done"
    assert captured.err.strip() == SHOWN


def test_json_holds_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    import typer
    from typer.testing import CliRunner

    from vestigo_ui.cli.output import command

    app = typer.Typer()

    @command(app, "show")
    def show() -> Output:
        return Output({"camera": HOSTILE}, lambda result: None)

    printed = CliRunner().invoke(app, ["--json"]).stdout
    assert json.loads(printed) == {"camera": HOSTILE}
    assert escape_controls(printed) == printed
