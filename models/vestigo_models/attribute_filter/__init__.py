"""The attribute filter: its rule, its thresholds, and what they cost."""
