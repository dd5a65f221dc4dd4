"""Runs in the store: plans, shards, commits, leases, retries."""
