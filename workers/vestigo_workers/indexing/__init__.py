"""Indexing an archive."""
