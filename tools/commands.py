"""Generate docs/commands.md from the command-line program: `python -m tools.commands`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from vestigo_ui.cli.main import build_app

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
HEAD = """# Commands

Written by `make docs` from the program itself. Every command takes `--debug` (show where an error came from) and
`--help`. With `--json`, standard output holds one JSON object and nothing else. Exit status: 0 done, 1 the work failed,
2 wrong usage or bad input.
"""


def commands(command: Any = None, path: tuple[str, ...] = ("vestigo",)) -> Iterator[tuple[str, Any]]:
    """Yield every executable command of the program with its full name, in the order of `--help`."""
    command = command or typer.main.get_command(build_app())
    children = getattr(command, "commands", None)
    if children is None or command.invoke_without_command:
        yield " ".join(path), command
    for name, child in (children or {}).items():
        yield from commands(child, (*path, name))


def page() -> str:
    """Return the text of docs/commands.md."""
    return "\n".join([HEAD, *(section(name, command) for name, command in commands())]).rstrip() + "\n"


def section(name: str, command: Any) -> str:
    """Return the page's section about one command."""
    text, example = split_help(command)
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
    usage = " ".join([name, *map(_placeholder, arguments), "[OPTIONS]"])
    lines = [f"## {name}", "", text, "", "```", usage, "", f"example: {example}", "```", ""]
    rows = [_row(f"`{_placeholder(param)}`", param) for param in arguments]
    rows += [_row(", ".join(f"`{flag}`" for flag in (*param.opts, *param.secondary_opts)), param) for param in options]
    if rows:
        lines += ["| argument or option | meaning | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def split_help(command: Any) -> tuple[str, str]:
    """Return a command's description and its example."""
    text, _, example = (command.help or "").partition("Example:")
    return "\n".join(line.strip() for line in text.strip().splitlines()), " ".join(example.split())


def _row(name: str, param: Any) -> str:
    meaning = " ".join((param.help or "").split()).replace("|", "\\|")
    shown = param.default is not None and param.default is not False and param.default != () and not param.required
    default = f"`{param.default}`" if shown and not callable(param.default) else ""
    if param.required:
        default = "required"
    if variable := getattr(param, "envvar", None):
        meaning += f" Also `{variable}`."
    return f"| {name} | {meaning} | {default} |"


def _placeholder(argument: Any) -> str:
    text = (argument.metavar or argument.name.upper()) + ("..." if argument.nargs == -1 else "")
    return text if argument.required else f"[{text}]"


def is_current() -> bool:
    """Return whether docs/commands.md matches the program."""
    return PAGE.exists() and PAGE.read_text("utf-8") == page()


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
    print(PAGE)
