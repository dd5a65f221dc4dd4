"""Clothes of rendered people, and how light falls on them."""
