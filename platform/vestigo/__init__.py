"""Floor 2: what is remembered. Datasets, store, retrieval, evaluation, archives, reports."""
