"""The `vestigo` program as its entry point in pyproject.toml gives it: one command line at a time, and its options."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from unittest import mock

import typer.core

_TYPES = {"str": "text", "int": "integer", "bool": "boolean", "Path": "path", "filename": "path"}
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Completed:
    """A command line that has ended: its exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str


def run(*arguments: str) -> Completed:
    """Run one command line in this process.

    Args:
        arguments: What follows the program's name.

    Returns:
        The exit status and both outputs.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    status: Any = 0
    with (
        mock.patch.object(sys, "argv", ["vestigo", *arguments]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            _entry_point()()
        except SystemExit as end:
            status = end.code
    return Completed(int(status or 0), stdout.getvalue(), stderr.getvalue())


def run_json(*arguments: str) -> dict[str, Any]:
    """Run one command line with `--json`.

    Args:
        arguments: What follows the program's name.

    Returns:
        The JSON object on standard output.

    Raises:
        RuntimeError: If the command fails.
    """
    completed = run(*arguments, "--json")
    if completed.status:
        raise RuntimeError(f"vestigo {' '.join(arguments)}: exit status {completed.status}: {completed.stderr.strip()}")
    result: dict[str, Any] = json.loads(completed.stdout)
    return result


def options() -> dict[str, Any]:
    """Return the options and arguments of every command, by the command's full name."""
    return {name: _parameters(command) for name, command in _commands(_root_command(), ("vestigo",))}


@cache
def _entry_point() -> Callable[[], None]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        module, name = tomllib.load(file)["project"]["scripts"]["vestigo"].split(":")
    main: Callable[[], None] = getattr(importlib.import_module(module), name)
    return main


def _root_command() -> Any:
    """Return the command group that the entry point runs."""
    groups: list[Any] = []

    def keep(group: Any, *_args: Any, **_kwargs: Any) -> None:
        groups.append(group)
        raise SystemExit

    # Shell completion needs the options of all commands; the list of `--help` is shown without them.
    whole = mock.patch.dict(os.environ, {"_VESTIGO_COMPLETE": "complete_bash"})
    with whole, mock.patch.object(typer.core.TyperGroup, "main", keep):
        run("--help")
    return groups[0]


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    yield " ".join(path), command
    if hasattr(command, "list_commands"):
        context = command.context_class(command, info_name=path[-1])
        for name in command.list_commands(context):
            yield from _commands(command.get_command(context, name), (*path, name))


def _parameters(command: Any) -> dict[str, Any]:
    """Return what each option and argument takes; arguments by position, because their names are never typed."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    named = {f"argument {position}": parameter for position, parameter in enumerate(arguments, start=1)}
    named |= {max(parameter.opts, key=len): parameter for parameter in command.params if parameter not in arguments}
    return {name: _parameter(parameter) for name, parameter in named.items()}


def _parameter(parameter: Any) -> dict[str, Any]:
    described = {
        **_type(parameter),
        "default": None if callable(parameter.default) else _plain(parameter.default),
        "required": bool(parameter.required),
    }
    if parameter.param_type_name == "option":
        described["flags"] = dict.fromkeys((*parameter.opts, *parameter.secondary_opts), True)
    if parameter.nargs != 1 or getattr(parameter, "multiple", False):
        described["several"] = True
    if parameter.envvar:
        described["variable"] = _plain(parameter.envvar)
    for name in ("min", "max"):
        limit = getattr(parameter, name, None)
        limit = getattr(getattr(parameter, "type", None), name, None) if limit is None else limit
        if limit is not None:
            described[name] = limit
    return described


def _type(parameter: Any) -> dict[str, Any]:
    """Return the type of a parameter, and what may be chosen; Typer has kept types in two ways."""
    if hasattr(parameter, "type"):
        choices = getattr(parameter.type, "choices", None)
        name = parameter.type.name.removesuffix(" range")
        return {"type": _TYPES.get(name, name)} | ({"choices": dict.fromkeys(_plain(choices), True)} if choices else {})
    annotation = parameter.type_descriptor.annotation
    while get_origin(annotation) is not Literal and (
        inner := [argument for argument in get_args(annotation) if argument not in (type(None), ...)]
    ):
        annotation = inner[0]
    if get_origin(annotation) is Literal:
        return {"type": "choice", "choices": dict.fromkeys(get_args(annotation), True)}
    if issubclass(annotation, Enum):
        return {"type": "choice", "choices": {str(member.value): True for member in annotation}}
    return {"type": _TYPES.get(annotation.__name__, annotation.__name__)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
