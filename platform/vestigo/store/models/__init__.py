"""Models in the store: the registry and its promotions."""
