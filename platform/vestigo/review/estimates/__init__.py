"""Estimates about all tasks from the reviewed ones."""
