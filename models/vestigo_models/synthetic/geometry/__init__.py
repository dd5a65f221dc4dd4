"""Solids of rendered people and ray casting."""
