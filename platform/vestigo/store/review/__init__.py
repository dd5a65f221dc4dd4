"""Review in the store: projects, samples, tasks, annotations, label sets."""
