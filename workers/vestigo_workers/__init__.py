"""Floor 3: what runs at scale. Ray actors over archives, Ray Train jobs, and the in-process twins of both."""

import os
from pathlib import Path

# Ray reads these when it is imported, which only the modules below do.
if not os.environ.get("RAY_ADDRESS"):
    # Ray turns 127.0.0.1 into the address that other machines reach: this keeps a cluster of our own on loopback.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
elif {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ) or (Path.home() / ".ray" / "auth_token").exists():
    # Ray finds its token by itself for a cluster that it starts, but not for one that is named; one without a token
    # does not mind being shown one.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
