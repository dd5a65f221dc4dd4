"""Backbones behind one protocol."""
