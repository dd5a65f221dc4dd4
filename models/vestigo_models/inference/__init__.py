"""Inference: model packages, descriptors, regions and attributes of crops."""
