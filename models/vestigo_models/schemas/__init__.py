"""Attribute and region schemas."""
