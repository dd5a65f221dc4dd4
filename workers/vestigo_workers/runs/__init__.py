"""Runs: the driver, and resuming."""
