"""Consistency checks, vacuuming and export of a store."""
