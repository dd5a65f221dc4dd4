"""Evaluation of images on executors."""
