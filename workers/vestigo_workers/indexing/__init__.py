"""Indexing of an archive: request, plan, worker."""
