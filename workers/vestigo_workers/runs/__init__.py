"""Runs: the driver, results, and resuming."""
