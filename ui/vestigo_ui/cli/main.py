"""The `vestigo` program: collects the commands and turns errors into one line and an exit status."""

import gc
import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, cast

import typer

from vestigo_models.errors import VestigoError, hide_credentials
from vestigo_ui.cli.output import command, err

# Typer carries its own copy of Click since 0.26 and depends on Click before; usage errors of both have this root.
ClickException = cast("type[Exception]", typer.BadParameter.__mro__[2])

# A command is a function NAME_command, a group of commands a Typer object `app`, in the module of its name. The
# summaries stand here, so that the list of commands is shown without importing them.
COMMANDS = {
    "demo": "Render a small camera network, index it, search, evaluate, and write an HTML report with images.",
    "index": "Index an archive: detect and track people, embed their crops and store them.",
    "search": "Find the crops that are most similar to a person, or that have the attributes of --where.",
    "rank": "Rank the archive for many queries in one pass and save the ranking in the store.",
    "evaluate": "Evaluate a model on a dataset: ranking, attributes, regions, and losses of an attribute filter.",
    "score": "Score the features of any program with the retrieval metrics of `vestigo evaluate`; no model is needed.",
    "regions": "Label the regions of people: head, upper body, lower body, shoes, and with --fls carried objects.",
    "train": "Train a model on the dataset's training split and evaluate it on its query and gallery splits.",
    "train-parser": "Train a small parser on a dataset's training split and evaluate each region on the others.",
    "ablate": "Train every configuration of docs/method.md, tables 4 to 7, with several seeds, and write the tables.",
    "calibrate": "Calibrate a model's attributes and its attribute filter, and write the calibration into the package.",
    "precision": "Estimate the precision of every attribute on the whole archive from sampled and reviewed tasks.",
    "retrain": "Train a candidate model from labels, and promote it if it passes the gate.",
    "adapt": "Adapt the serving model to the store's footage without labels, and promote it if it passes the gate.",
    "loop": "Sample tasks, wait until they are reviewed, retrain, and promote the candidate if it passes the gate.",
    "render": "Render synthetic people as a labelled dataset in the Market-1501 layout.",
    "doctor": "Print what is installed and missing, and the remedies.",
}
GROUPS = {
    "runs": "Runs and their results; resume, retry or cancel them.",
    "label": "Review in Label Studio: push tasks, pull annotations; labels as files.",
    "datasets": "What a dataset is read as: layout, counts, and what is passed over.",
    "store": "Check, clean, migrate a store; export its crops and tracklets.",
    "cameras": "List cameras and correct their clocks.",
    "models": "The models of a store: compare, promote, roll back.",
    "audit": "The audit log: who requested what and saw what; whether it is intact.",
    "serve": "Keep a store's model loaded and answer searches over HTTP and for `vestigo search`.",
    "ui": "Serve the screen for a store: search, view, review, and the state of the archive and its models.",
}


def build_app(names: Iterable[str] = (*COMMANDS, *GROUPS), *, only_list: bool = False) -> typer.Typer:
    """Return the Typer application with some commands.

    Commands import heavy libraries when they run, not here.

    Args:
        names: Keys of `COMMANDS` and `GROUPS`.
        only_list: Whether the commands are listed only, without their options; no module is imported then.
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
    for name in names:
        if only_list:
            app.command(name, short_help=(COMMANDS | GROUPS)[name])(lambda: None)
            continue
        module_name = name.replace("-", "_")
        module = importlib.import_module(f"vestigo_ui.cli.commands.{module_name}")
        if name in COMMANDS:
            command(app, name)(getattr(module, f"{module_name}_command"))
        else:
            app.add_typer(module.app, name=name)
    return app


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

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
    names = [word for word in arguments if word[:1] != "-"][:1]
    if names and names[0] in COMMANDS | GROUPS:
        app = build_app(names)
    else:
        app = build_app(only_list="_VESTIGO_COMPLETE" not in os.environ)
    try:
        status = typer.main.get_command(app).main(args=arguments, prog_name="vestigo", standalone_mode=False)
    except ClickException as error:
        # Without a message, the help text was printed because a command is missing.
        line = _usage_line(error)
        return _refuse(line, 2) if line else 2
    except VestigoError as error:
        return _refuse(traceback.format_exc() if debug else str(error), error.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted; committed work is kept", 130)
    except BrokenPipeError:
        # The reader of the output has ended (`vestigo ... | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  (the program ends with one line, or its traceback, without credentials)
        shown = traceback.format_exc() if debug else f"{type(error).__name__}: {error} (--debug shows where)"
        return _refuse(shown, 1)
    return status if isinstance(status, int) else 0


def _usage_line(error: Any) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see: {context.command_path} --help)" if context is not None else ""
    message = " ".join(error.format_message().split())
    return message + hint if message else ""


def _refuse(text: str, status: int) -> int:
    """Print an error in one line, or its traceback, without credentials."""
    text = text if text.startswith("Traceback") else "vestigo: " + " ".join(text.split())
    err.print(hide_credentials(text), style="red", highlight=False)
    return status


def main() -> None:
    """Entry point of the installed `vestigo` program."""
    # Imports allocate much and free nothing: with Python's default of 700 objects, collecting takes a sixth of a start.
    gc.set_threshold(10_000)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
