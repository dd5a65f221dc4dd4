"""Floor 2: datasets, store, search, evaluation, review and promotion."""
