"""Saved rankings of bulk re-identification."""
