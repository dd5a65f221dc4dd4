"""Evaluation of a model or of features on a dataset."""
