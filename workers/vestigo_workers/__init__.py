"""Floor 3: what runs at scale. Ray actors over archives, Ray Train jobs, and the in-process twins of both."""

import os

# Ray reads these when it is imported, which only the modules below do. It turns 127.0.0.1 into the address that other
# machines reach, and its ports ask nobody for a password: the first switch keeps a cluster of our own on loopback.
if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
