"""Label maps of an archive or a folder."""
