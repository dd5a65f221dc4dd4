"""The account of the operating system, which the audit log names."""

import os
import pwd


def login() -> str:
    """Return the name of the account that runs this process, independent of the environment."""
    user = os.getuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"
