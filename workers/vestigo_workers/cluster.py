"""The Ray cluster that work runs on: the one that RAY_ADDRESS names, or one of this process's own on loopback."""

from __future__ import annotations

import logging
import os

import ray


def connect() -> bool:
    """Join the cluster that RAY_ADDRESS names, or start one for this process.

    Returns:
        Whether this call connected, so that the caller knows whether to disconnect.
    """
    if ray.is_initialized():
        return False
    # "local" never joins what another process, perhaps a dead one, left behind on this machine.
    address = os.environ.get("RAY_ADDRESS", "local")
    dashboard = False if address == "local" else None
    ray.init(address=address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
    return True
