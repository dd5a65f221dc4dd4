"""Retraining from corrected labels, up to the promotion gate."""
