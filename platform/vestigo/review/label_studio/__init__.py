"""Label Studio: projects, tasks, annotations."""
