"""The sign-in and sign-out pages: plain HTML without scripts."""

from html import escape
from urllib.parse import quote

from starlette.responses import HTMLResponse

from vestigo_ui.web.server.streamlit_options import DARK, LIGHT


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


STYLE = f"""
:root {{ color-scheme: light dark; {_variables(LIGHT)} --onPrimary: #ffffff; --error: #b3261e; }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} --onPrimary: #06211e; --error: #ff8a80; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--secondaryBackgroundColor); color: var(--textColor);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }}
main {{ width: 100%; max-width: 23rem; padding: 2rem; background: var(--backgroundColor);
  border: 1px solid var(--borderColor); border-radius: 0.5rem; }}
h1 {{ margin: 0; font-size: 1.5rem; line-height: 1.2; }}
p {{ margin: 0.25rem 0 1.5rem; }}
.error {{ margin: 0 0 1rem; color: var(--error); font-weight: 600; }}
label {{ display: block; margin: 0 0 1rem; font-weight: 600; }}
input {{ display: block; width: 100%; margin-top: 0.25rem; padding: 0.55rem 0.7rem; font: inherit; font-weight: 400;
  color: inherit; background: var(--backgroundColor); border: 1px solid var(--borderColor); border-radius: 0.5rem; }}
button, a.button {{ display: block; width: 100%; padding: 0.6rem; font: inherit; font-weight: 600; text-align: center;
  text-decoration: none; cursor: pointer; border-radius: 0.5rem; border: 1px solid var(--primaryColor);
  color: var(--onPrimary); background: var(--primaryColor); }}
a.button {{ color: var(--primaryColor); background: transparent; }}
form + a.button {{ margin-top: 1rem; }}
input:focus-visible, button:focus-visible, a:focus-visible {{ outline: 3px solid var(--primaryColor);
  outline-offset: 2px; }}
"""


def sign_in_page(
    *,
    token: str | None,
    next_path: str,
    error: str = "",
    name: str = "",
    provider: str | None = None,
    status: int = 200,
) -> HTMLResponse:
    """Return the page with a password form (if there is a `token`) and a link to the provider (if there is one)."""
    parts = ["<h1>Vestigo</h1>", "<p>Sign in to search the archive.</p>"]
    if error:
        parts.append(f'<div class="error" role="alert">{escape(error)}</div>')
    if token is not None:
        parts.append(
            f'<form method="post" action="/sign-in"><input type="hidden" name="token" value="{escape(token)}">'
            f'<input type="hidden" name="next" value="{escape(next_path)}">'
            f'<label>Name<input name="name" value="{escape(name)}" autocomplete="username" required maxlength="64"'
            f' autocapitalize="none" spellcheck="false"{"" if name else " autofocus"}></label>'
            '<label>Password<input type="password" name="password" autocomplete="current-password" required'
            f"{' autofocus' if name else ''}></label>"
            '<button type="submit">Sign in</button></form>'
        )
    if provider is not None:
        parts.append(
            f'<a class="button" href="/oidc/start?next={quote(next_path, safe="")}">'
            f"Sign in through {escape(provider)}</a>"
        )
    return _page("Sign in", "".join(parts), status)


def sign_out_page(user: str) -> HTMLResponse:
    """Return the page that confirms signing out."""
    return _page(
        "Sign out",
        f"<h1>Vestigo</h1><p>You are signed in as {escape(user)}.</p>"
        '<form method="post" action="/sign-out"><button type="submit">Sign out</button></form>'
        '<a class="button" href="/">Back</a>',
    )


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title} · Vestigo</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>",
        status,
    )
