"""Training on several workers of Ray Train."""
