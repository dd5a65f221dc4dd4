"""Floor 3: work at scale. Runs over archives and trainings, in this process or on Ray."""

import os
from pathlib import Path

# Ray reads these when it is imported.
if not os.environ.get("RAY_ADDRESS"):
    # Ray replaces 127.0.0.1 by an external address: this keeps a cluster that we start on loopback.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
elif {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ) or (Path.home() / ".ray" / "auth_token").exists():
    # Ray finds its token for a cluster that it starts, but not for one that is named; a cluster without a token
    # accepts one.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray gives its workers the least of the processor (nice 15): while anything else computes, a run hardly advances.
os.environ.setdefault("RAY_worker_niceness", "0")
