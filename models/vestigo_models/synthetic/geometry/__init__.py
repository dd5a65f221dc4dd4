"""Solids of rendered people, and the rays that find them."""
