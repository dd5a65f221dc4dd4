"""`vestigo ui`: the screen."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vestigo_models.errors import UsageError
from vestigo_ui.cli.output import JsonOption, StoreOption, emit, note, out
from vestigo_ui.web.auth.users import Role

if TYPE_CHECKING:
    from vestigo_ui.web.auth.users import Users


user_app = typer.Typer(help="Say who may sign in to the screen, and as what.", no_args_is_help=True)

UsersOption = Annotated[
    Path | None,
    typer.Option(
        "--users",
        envvar="VESTIGO_USERS",
        help="Users file; without it vestigo/users.toml in $XDG_CONFIG_HOME or ~/.config.",
        show_default=False,
    ),
]
NameArgument = Annotated[str, typer.Argument(help="Name that the user signs in with.")]
RoleOption = Annotated[
    Role,
    typer.Option(
        "--role",
        help="viewer (search and look), reviewer (also correct, and send to review) or admin (also promote models).",
        show_default=False,
    ),
]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option("--password-file", help="Take the password from the first line of this file.", show_default=False),
]
PasswordStdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Take the password from the first line of standard input.")
]


@user_app.command("add")
def add_command(
    name: NameArgument,
    role: RoleOption,
    users: UsersOption = None,
    password_file: PasswordFileOption = None,
    password_stdin: PasswordStdinOption = False,
) -> None:
    """Add a user; the password is asked for twice, unless a file or standard input has it.

    Example: vestigo ui user add anna --role reviewer
    """
    _file(users).add(name, role, _password(password_file, password_stdin))
    note(f"{name} can sign in as {role}")


@user_app.command("list")
def list_command(users: UsersOption = None, as_json: JsonOption = False) -> None:
    """List the users and their roles.

    Example: vestigo ui user list
    """
    accounts = _file(users).accounts()
    emit({"users": [{"name": name, "role": accounts[name].role} for name in sorted(accounts)]}, as_json, _print_users)


@user_app.command("remove")
def remove_command(name: NameArgument, users: UsersOption = None) -> None:
    """Remove a user; open sessions end at once.

    Example: vestigo ui user remove anna
    """
    _file(users).remove(name)
    note(f"{name} is removed; open sessions have ended")


@user_app.command("role")
def role_command(
    name: NameArgument, role: Annotated[Role, typer.Argument(help="The new role.")], users: UsersOption = None
) -> None:
    """Give a user another role; open sessions end at once.

    Example: vestigo ui user role anna admin
    """
    _file(users).set_role(name, role)
    note(f"{name} is {role} from the next sign-in on; open sessions have ended")


@user_app.command("password")
def password_command(
    name: NameArgument,
    users: UsersOption = None,
    password_file: PasswordFileOption = None,
    password_stdin: PasswordStdinOption = False,
) -> None:
    """Give a user another password; open sessions end at once.

    Example: vestigo ui user password anna
    """
    file = _file(users)
    if name not in file.accounts():
        raise UsageError(f"{file.path} has no user {name}; `vestigo ui user list` shows who there is")
    file.set_password(name, _password(password_file, password_stdin))
    note(f"{name} has another password; open sessions have ended")


def _file(users: Path | None) -> Users:
    from vestigo_ui.web.auth.users import Users, users_path

    return Users(users_path(users))


def _password(file: Path | None, stdin: bool) -> str:
    if file is not None and stdin:
        raise UsageError("--password-file and --password-stdin exclude each other; give one")
    if file is not None:
        try:
            return _first_line(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read as a password file: {error}") from error
    if stdin:
        return _first_line(sys.stdin.read())
    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask for the password on; give --password-file or --password-stdin")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text.strip() else ""


def _print_users(result: Mapping[str, Any]) -> None:
    table = Table("name", "role", box=None)
    for user in result["users"]:
        table.add_row(user["name"], user["role"])
    out.print(table)


app = typer.Typer(invoke_without_command=True, subcommand_metavar="[user ...]")
app.add_typer(user_app, name="user")


@app.callback()
def ui_command(
    context: typer.Context,
    store: StoreOption = "",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the page.")] = 8501,
    address: Annotated[str, typer.Option("--address", help="Address that the page is served on.")] = "127.0.0.1",
    users: UsersOption = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="VESTIGO_UI_CONFIG",
            help="Settings file; without it vestigo/ui.toml in $XDG_CONFIG_HOME or ~/.config, where there is one.",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate (PEM) to serve https with.", show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Key (PEM) of that certificate.", show_default=False)
    ] = None,
    behind_proxy: Annotated[
        str | None,
        typer.Option(
            "--behind-proxy",
            envvar="VESTIGO_UI_PROXY",
            help="A proxy ends TLS before this server: its address (or network, or several with commas between), "
            "which alone is believed about whom it speaks for.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the screen for a store: search, look, review, and see how the archive and its models are doing.

    Everybody signs in: `vestigo ui user add` says who may, or an OpenID provider does (docs/sign-in.md).
    Only this machine reaches the page unless another address is named. Ctrl-C ends it.

    Example: vestigo ui --store archive --port 8501
    """
    if context.invoked_subcommand is not None:
        return
    if not store:
        raise typer.BadParameter("name the store to serve", ctx=context, param_hint="'--store' / '-s'")

    from vestigo.store.open import Store
    from vestigo_ui.web import settings
    from vestigo_ui.web.auth.events import audited
    from vestigo_ui.web.auth.users import Users, users_path
    from vestigo_ui.web.server.run import Binding, serve

    binding = Binding(address=address, port=port, tls_cert=tls_cert, tls_key=tls_key, proxies=behind_proxy)
    with Store.open(store, create=False) as opened:
        file, chosen = Users(users_path(users)), settings.load(config)
        serve(store, binding, file, chosen, on_event=audited(opened), say=note)
