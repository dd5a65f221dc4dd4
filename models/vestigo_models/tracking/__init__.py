"""Tracklets from detections, in bounded memory, so that a video can be cut into slices."""
