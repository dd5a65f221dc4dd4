"""The Ray cluster that work runs on: the one that RAY_ADDRESS names, or one of this process's own on loopback."""

from __future__ import annotations

import logging
import os

import ray
from ray.exceptions import AuthenticationError

from vestigo_models.errors import WorkError


def connect() -> bool:
    """Join the cluster that RAY_ADDRESS names, or start one for this process.

    Returns:
        Whether this call connected, so that the caller knows whether to disconnect.

    Raises:
        WorkError: no cluster answers at the address, or it refuses this process.
    """
    if ray.is_initialized():
        return False
    # "local" never joins what another process, perhaps a dead one, left behind on this machine.
    address = os.environ.get("RAY_ADDRESS", "local")
    dashboard = False if address == "local" else None
    try:
        ray.init(address=address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, AuthenticationError):
        raise WorkError(
            f"no Ray cluster lets this process in at RAY_ADDRESS={address}: start one there (ray start --head), unset "
            "RAY_ADDRESS to work without, or, where it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from None
    return True
