"""Review in the store: projects, draws, tasks, annotations, label sets."""
