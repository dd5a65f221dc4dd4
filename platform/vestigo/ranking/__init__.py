"""Ranking as pure functions on arrays: distances, top-k, re-ranking."""
