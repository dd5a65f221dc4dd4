"""Show URLs without passwords and keys."""

import re

_CREDENTIALS = re.compile(r"\b([a-z][a-z0-9+.-]*:/{1,2})[^\s'\"@/]*:[^\s'\"]*@", re.IGNORECASE)
"""Up to the last `@` of a word: a secret that is not escaped may hold any character."""


def hide_credentials(text: str) -> str:
    """Return a message with user, password and key of every URL in it replaced by `***`."""
    return _CREDENTIALS.sub(r"\1***@", text)
