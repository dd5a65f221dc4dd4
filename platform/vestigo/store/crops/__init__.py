"""Crops in the store: visible rows, label maps, cameras, the digest."""
