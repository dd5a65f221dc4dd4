"""Tracklets from detections: pure functions with a bounded memory, so that a video can be cut anywhere."""
