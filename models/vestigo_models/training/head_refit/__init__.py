"""Refitting of attribute heads on the features of a frozen network."""
