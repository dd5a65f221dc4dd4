"""Training on several workers of Ray Train, and the training sets of recipes."""
