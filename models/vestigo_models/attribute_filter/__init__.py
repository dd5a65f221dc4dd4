"""The attribute filter: its rule, its thresholds, and the calibration of both."""
