"""Attribute and region schemas: the typed objects that heads, filters, labels and screens read."""
