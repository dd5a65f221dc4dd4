"""Training: configuration, data, losses, the loop and its checkpoints."""
