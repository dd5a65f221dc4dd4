"""The vector index of a store: descriptors and predictions of the visible crops, in files that a search maps."""
