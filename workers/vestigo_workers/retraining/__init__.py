"""Retraining from agreed labels: training data, candidate models, review rounds."""
