"""`vestigo ui`: serve the screen and manage its users."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option, Typer

from vestigo_models.errors import UsageError
from vestigo_models.text_files import read_text
from vestigo_ui.cli import options as opts
from vestigo_ui.cli.output import Output, command, make_table, note
from vestigo_ui.web.auth.users import Role, Users, users_path

user_app = Typer(help="Manage who may sign in to the screen, and with which role.", no_args_is_help=True)

NameArgument = Annotated[str, Argument(help="Name that the user signs in with.")]
RoleOption = Annotated[
    Role,
    Option(
        "--role",
        help="viewer (search and view), reviewer (also correct, and send to review) or admin (also promote models).",
        show_default=False,
    ),
]
PasswordFileOption = Annotated[
    Path | None, Option("--password-file", help="Read the password from the first line of this file.")
]
PasswordStdinOption = Annotated[
    bool, Option("--password-stdin", help="Read the password from the first line of standard input.")
]


@user_app.command("add")
def add_command(
    name: NameArgument,
    role: RoleOption,
    users: opts.UsersOption = None,
    password_file: PasswordFileOption = None,
    password_stdin: PasswordStdinOption = False,
    store: opts.StoreOption = "",
) -> None:
    """Add a user; the password is prompted for twice unless a file or standard input holds it.

    Changes of users are logged next to the users file; `vestigo ui` copies them to the audit log of its store, and
    --store writes them there at once.

    Example: vestigo ui user add anna --role reviewer
    """
    password = _read_password(password_file, password_stdin)
    _change_users(users, store, lambda file: file.add(name, role, password))
    note(f"{name} can sign in as {role}")


@command(user_app, "list")
def list_command(users: opts.UsersOption = None) -> Output:
    """List the users and their roles.

    Example: vestigo ui user list
    """
    accounts = Users(users_path(users)).accounts()
    result = {"users": [{"name": name, "role": accounts[name].role} for name in sorted(accounts)]}
    return Output(result, make_table(("name", "role"), map(dict.values, result["users"])))


@user_app.command("remove")
def remove_command(name: NameArgument, users: opts.UsersOption = None, store: opts.StoreOption = "") -> None:
    """Remove a user; open sessions end at once.

    Example: vestigo ui user remove anna
    """
    _change_users(users, store, lambda file: file.remove(name))
    note(f"{name} is removed; open sessions have ended")


@user_app.command("role")
def role_command(
    name: NameArgument,
    role: Annotated[Role, Argument(help="The new role.")],
    users: opts.UsersOption = None,
    store: opts.StoreOption = "",
) -> None:
    """Give a user another role; open sessions end at once.

    Example: vestigo ui user role anna admin
    """
    _change_users(users, store, lambda file: file.set_role(name, role))
    note(f"{name} is {role} from the next sign-in on; open sessions have ended")


@user_app.command("password")
def password_command(
    name: NameArgument,
    users: opts.UsersOption = None,
    password_file: PasswordFileOption = None,
    password_stdin: PasswordStdinOption = False,
    store: opts.StoreOption = "",
) -> None:
    """Give a user another password; open sessions end at once.

    Example: vestigo ui user password anna
    """
    file = Users(users_path(users))
    if name not in file.accounts():
        raise UsageError(f"{file.path} has no user {name}; `vestigo ui user list` lists the users")
    password = _read_password(password_file, password_stdin)
    _change_users(users, store, lambda file: file.set_password(name, password))
    note(f"{name} has another password; open sessions have ended")


def _change_users(path: Path | None, store: str, change: Callable[[Users], None]) -> None:
    """Change the users file, and write the change to the audit log of a store if one is named."""
    users = Users(users_path(path))
    change(users)
    if store:
        from vestigo_ui.web.auth.sign_in import audit_user_changes

        with opts.open_store(store) as opened:
            audit_user_changes(opened, users)


def _read_password(file: Path | None, stdin: bool) -> str:
    if file is not None and stdin:
        raise UsageError("--password-file and --password-stdin exclude each other; give one")
    if file is not None or stdin:
        try:
            text = sys.stdin.read() if file is None else read_text(file)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file or 'standard input'} cannot be read as a password file: {error}") from error
        return text.splitlines()[0] if text.strip() else ""
    if not sys.stdin.isatty():
        raise UsageError("no terminal to prompt for the password; give --password-file or --password-stdin")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


app = Typer(invoke_without_command=True, subcommand_metavar="[user ...]")
app.add_typer(user_app, name="user")


@app.callback()
def ui_command(
    context: typer.Context,
    store: opts.StoreOption = "",
    port: Annotated[int, Option(min=1, max=65535, help="Port of the page.")] = 8501,
    address: Annotated[str, Option(help="Address that the page is served on.")] = "127.0.0.1",
    users: opts.UsersOption = None,
    config: opts.SettingsOption = None,
    tls_cert: opts.TlsCertOption = None,
    tls_key: opts.TlsKeyOption = None,
    behind_proxy: opts.ProxyOption = None,
) -> None:
    """Serve the screen for a store: search, view, review, and the state of the archive and its models.

    Everybody signs in: with an account of `vestigo ui user add`, or through an OpenID provider (docs/sign-in.md). The
    page is reachable from this machine only, unless another address is given. Ctrl-C ends it.

    Example: vestigo ui --store archive --port 8501
    """
    if context.invoked_subcommand is not None:
        return
    if not store:
        raise typer.BadParameter("name the store to serve", ctx=context, param_hint="'--store' / '-s'")

    from vestigo_ui.web.auth.sign_in import audit_events, audit_user_changes
    from vestigo_ui.web.server.binding import Binding
    from vestigo_ui.web.server.run import serve
    from vestigo_ui.web.settings import load_settings

    binding = Binding(address=address, port=port, tls_cert=tls_cert, tls_key=tls_key, proxies=behind_proxy)
    with opts.open_store(store) as opened:
        settings, accounts = load_settings(config), Users(users_path(users))
        audit_user_changes(opened, accounts)
        serve(store, binding, accounts, settings, on_event=audit_events(opened, accounts), report=note)
