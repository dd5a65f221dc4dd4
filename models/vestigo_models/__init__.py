"""Floor 1: schemas, networks, training, detection, tracking and rendered people, as functions on arrays."""

import os

# The OpenMP library of torch (GNU's on Linux) reads this when it is loaded: how often a thread that waits for another
# asks before it sleeps. By default it asks so often that two threads are slower than one if anything else computes.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
