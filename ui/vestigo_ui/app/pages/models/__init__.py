"""Page Models: the registry, scores and promotion."""
