"""Promotion of a candidate model: splits, leakage, gate."""
