"""Layouts of datasets and of feature files."""
