"""Distances, nearest crops and re-ranking as pure functions on arrays."""
