"""Adaptation of the serving model to the crops of a store, without labels."""
