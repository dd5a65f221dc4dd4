"""Sampling of review tasks with known inclusion probabilities."""
