"""The `vestigo` program: collects the commands and turns errors into one line and an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any, cast

import typer

from vestigo_models.errors import VestigoError
from vestigo_ui.cli.output import err

# Typer carries its own copy of Click since 0.26 and depends on Click before; usage errors of both have this root.
ClickException = cast("type[Exception]", typer.BadParameter.__mro__[2])

# A command is a function NAME_command, a group of commands a Typer object `app`, in the module of its name.
COMMANDS = (
    "demo",
    "index",
    "search",
    "rank",
    "evaluate",
    "score",
    "regions",
    "train",
    "train-parser",
    "ablate",
    "calibrate",
    "precision",
    "retrain",
    "loop",
    "render",
    "doctor",
)
GROUPS = ("runs", "label", "store", "cameras", "models", "audit", "ui")


def build_app(name: str | None = None) -> typer.Typer:
    """Return the Typer application with every command, or with the one called `name` if there is one.

    Commands import heavy libraries when they run, not here.
    """
    app = typer.Typer(
        name="vestigo",
        help="Find the same person again across archives of camera footage.\n\n"
        "Start with: [bold]vestigo demo[/bold], or [bold]vestigo index footage/ --store S[/bold] "
        "and [bold]vestigo search person.jpg --store S[/bold].",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        add_completion=True,
    )
    app.callback()(_program)
    names = [name] if name in (*COMMANDS, *GROUPS) else [*COMMANDS, *GROUPS]
    for name in names:
        module_name = name.replace("-", "_")
        module = importlib.import_module(f"vestigo_ui.cli.commands.{module_name}")
        if name in COMMANDS:
            app.command(name)(getattr(module, f"{module_name}_command"))
        else:
            app.add_typer(module.app, name=name)
    return app


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"vestigo {version('vestigo')}")
        raise typer.Exit


def _program(
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself, which are processed before a command starts."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return its exit status."""
    debug = "--debug" in arguments or bool(os.environ.get("VESTIGO_DEBUG"))
    arguments = [argument for argument in arguments if argument != "--debug"]
    command = typer.main.get_command(build_app(next((word for word in arguments if word[:1] != "-"), None)))
    try:
        status = command.main(args=arguments, prog_name="vestigo", standalone_mode=False)
    except ClickException as error:
        # Without a message, the help text was printed because a command is missing.
        line = _usage_line(error)
        return _refuse(line, 2) if line else 2
    except VestigoError as error:
        if debug:
            raise
        return _refuse(str(error), error.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted; committed work is kept", 130)
    except BrokenPipeError:
        # The reader of the output has ended (`vestigo ... | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        return _refuse(f"{type(error).__name__}: {' '.join(str(error).split())} (--debug shows where)", 1)
    return status if isinstance(status, int) else 0


def _usage_line(error: Any) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see: {context.command_path} --help)" if context is not None else ""
    message = " ".join(error.format_message().split())
    return message + hint if message else ""


def _refuse(line: str, status: int) -> int:
    err.print(f"vestigo: {' '.join(line.split())}", style="red", highlight=False, markup=False)
    return status


def main() -> None:
    """Entry point of the installed `vestigo` program."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
