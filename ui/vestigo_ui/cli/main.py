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

# Typer carries its own copy of Click since 0.26 and an outer one before; either way its usage errors share this root.
ClickException = cast("type[Exception]", typer.BadParameter.__mro__[2])

# A command is the module and attribute that hold it; a sub-app is a Typer object called `app`.
COMMANDS = {
    "demo": "vestigo_ui.cli.commands.demo:demo_command",
    "index": "vestigo_ui.cli.commands.index:index_command",
    "search": "vestigo_ui.cli.commands.search:search_command",
    "rank": "vestigo_ui.cli.commands.rank:rank_command",
    "evaluate": "vestigo_ui.cli.commands.evaluate:evaluate_command",
    "score": "vestigo_ui.cli.commands.score:score_command",
    "regions": "vestigo_ui.cli.commands.regions:regions_command",
    "train": "vestigo_ui.cli.commands.train:train_command",
    "train-parser": "vestigo_ui.cli.commands.train_parser:train_parser_command",
    "ablate": "vestigo_ui.cli.commands.ablate:ablate_command",
    "calibrate": "vestigo_ui.cli.commands.calibrate:calibrate_command",
    "precision": "vestigo_ui.cli.commands.precision:precision_command",
    "retrain": "vestigo_ui.cli.commands.retrain:retrain_command",
    "loop": "vestigo_ui.cli.commands.loop:loop_command",
    "render": "vestigo_ui.cli.commands.render:render_command",
    "doctor": "vestigo_ui.cli.commands.doctor:doctor_command",
}
SUB_APPS = {
    "runs": "vestigo_ui.cli.commands.runs:app",
    "label": "vestigo_ui.cli.commands.label:app",
    "store": "vestigo_ui.cli.commands.store:app",
    "cameras": "vestigo_ui.cli.commands.cameras:app",
    "models": "vestigo_ui.cli.commands.models:app",
    "audit": "vestigo_ui.cli.commands.audit:app",
    "ui": "vestigo_ui.cli.commands.ui:app",
}


def build_app() -> typer.Typer:
    """Return the Typer application with every command; heavy libraries are loaded by the commands, not here."""
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
    for name, place in COMMANDS.items():
        app.command(name)(_load(place))
    for name, place in SUB_APPS.items():
        app.add_typer(_load(place), name=name)
    return app


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vestigo {version('vestigo')}")
        raise typer.Exit


def _program(
    show: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options of the program itself; they are done with before a command starts."""


def _load(place: str) -> typer.Typer:
    module, attribute = place.split(":")
    loaded: typer.Typer = getattr(importlib.import_module(module), attribute)
    return loaded


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return its exit status."""
    debug = "--debug" in arguments or bool(os.environ.get("VESTIGO_DEBUG"))
    arguments = [argument for argument in arguments if argument != "--debug"]
    command = typer.main.get_command(build_app())
    try:
        status = command.main(args=arguments, prog_name="vestigo", standalone_mode=False)
    except ClickException as error:
        # Without a message it is the help text that was shown in place of a missing command.
        line = _usage_line(error)
        return _refuse(line, 2) if line else 2
    except VestigoError as error:
        if debug:
            raise
        return _refuse(str(error), error.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted; what was committed is kept", 130)
    except BrokenPipeError:
        # The reader of our output went away (`vestigo ... | head`): not an error of ours.
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
