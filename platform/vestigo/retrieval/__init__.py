"""Retrieval over an archive that is never held in memory: search, filter, explanation, bulk ranking."""
