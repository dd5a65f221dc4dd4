"""Search over an archive that is never held in memory."""
